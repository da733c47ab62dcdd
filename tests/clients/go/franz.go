// What franz-go does with its default settings: it administers topics, writes, reads,
// and shares a topic in a group of cooperative members.
//
// Argument: the bootstrap server. Prints the name of each check that holds, and ends
// with status 0 if all of them do.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var server = os.Args[1]

func client(options ...kgo.Opt) *kgo.Client {
	return try(kgo.NewClient(append(options, kgo.SeedBrokers(server))...))
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	own := client()
	defer own.Close()
	admin := kadm.NewClient(own)

	topics(ctx, admin)
	for name, codec := range map[string]kgo.CompressionCodec{
		"none":   kgo.NoCompression(),
		"gzip":   kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(),
		"lz4":    kgo.Lz4Compression(),
		"zstd":   kgo.ZstdCompression(),
	} {
		records(ctx, admin, "records-"+name, kgo.ProducerBatchCompression(codec))
	}
	fmt.Println("records")
	group(ctx, admin)
}

// Topics: created, grown, configured, deleted.
func topics(ctx context.Context, admin *kadm.Client) {
	made := try(admin.CreateTopic(ctx, 2, -1, nil, "made"))
	check(made.Err == nil, made.Err)
	try(admin.CreatePartitions(ctx, 3, "made"))
	listed := try(admin.ListTopics(ctx, "made"))
	check(len(listed["made"].Partitions) == 5, listed)
	value := "1000"
	set := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}
	_, err := try(admin.AlterTopicConfigs(ctx, set, "made")).On("made", nil)
	must(err)
	found := try(try(admin.DescribeTopicConfigs(ctx, "made")).On("made", nil))
	kept := ""
	for _, each := range found.Configs {
		if each.Key == "retention.ms" {
			kept = each.MaybeValue()
		}
	}
	check(kept == value, kept)
	try(admin.DeleteTopics(ctx, "made"))
	check(!try(admin.ListTopics(ctx)).Has("made"), "still listed")
	fmt.Println("topics")
}

func write(ctx context.Context, topic string, from, to int, options ...kgo.Opt) {
	producer := client(options...)
	defer producer.Close()
	var all []*kgo.Record
	for i := from; i < to; i++ {
		text := []byte(strconv.Itoa(i))
		all = append(all, &kgo.Record{
			Topic:     topic,
			Key:       text,
			Value:     text,
			Headers:   []kgo.RecordHeader{{Key: "number", Value: text}},
			Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)),
		})
	}
	err := producer.ProduceSync(ctx, all...).FirstErr()
	must(err)
}

// Records come back as they were written.
func records(ctx context.Context, admin *kadm.Client, topic string, codec kgo.Opt) {
	try(admin.CreateTopic(ctx, 3, -1, nil, topic))
	write(ctx, topic, 0, 1000, codec)
	consumer := client(
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer consumer.Close()
	seen := map[string]bool{}
	for len(seen) < 1000 {
		fetches := consumer.PollFetches(ctx)
		check(fetches.Err() == nil, fetches.Err())
		fetches.EachRecord(func(each *kgo.Record) {
			number := try(strconv.Atoi(string(each.Value)))
			check(string(each.Key) == string(each.Value), each)
			check(string(each.Headers[0].Value) == string(each.Value), each)
			check(each.Timestamp.UnixMilli() == 1_700_000_000_000+int64(number), each)
			check(!seen[string(each.Value)], "twice", each)
			seen[string(each.Value)] = true
		})
	}
	ends := try(admin.ListEndOffsets(ctx, topic))
	total := int64(0)
	ends.Each(func(each kadm.ListedOffset) { total += each.Offset })
	check(total == 1000, total)
}

// A member of a group, and the partitions that it has.
type member struct {
	client   *kgo.Client
	lock     sync.Mutex
	assigned map[int32]bool
	done     chan struct{}
}

func (m *member) has() int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return len(m.assigned)
}

func (m *member) end(ctx context.Context) {
	err := m.client.CommitUncommittedOffsets(ctx)
	must(err)
	m.client.Close()
	<-m.done
}

func join(ctx context.Context, seen *sync.Map) *member {
	m := &member{assigned: map[int32]bool{}, done: make(chan struct{})}
	m.client = client(
		kgo.ConsumerGroup("members"),
		kgo.ConsumeTopics("shared"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			m.lock.Lock()
			defer m.lock.Unlock()
			for _, each := range got["shared"] {
				m.assigned[each] = true
			}
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, c *kgo.Client, lost map[string][]int32) {
			c.CommitUncommittedOffsets(ctx)
			m.lock.Lock()
			defer m.lock.Unlock()
			for _, each := range lost["shared"] {
				delete(m.assigned, each)
			}
		}),
	)
	go func() {
		defer close(m.done)
		for {
			fetches := m.client.PollFetches(ctx)
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(func(each *kgo.Record) { seen.Store(string(each.Value), true) })
		}
	}()
	return m
}

// Two members share a topic; one takes over when the other leaves.
func group(ctx context.Context, admin *kadm.Client) {
	try(admin.CreateTopic(ctx, 4, -1, nil, "shared"))
	write(ctx, "shared", 0, 200)
	seen := &sync.Map{}
	first := join(ctx, seen)
	until(ctx, "alone", func() bool { return first.has() == 4 && size(seen) == 200 })
	second := join(ctx, seen)
	until(ctx, "halves", func() bool { return first.has() == 2 && second.has() == 2 })
	write(ctx, "shared", 200, 400)
	until(ctx, "all records", func() bool { return size(seen) == 400 })
	first.end(ctx)
	until(ctx, "one is left", func() bool { return second.has() == 4 })
	described := try(admin.DescribeGroups(ctx, "members"))
	check(len(described["members"].Members) == 1, described)
	second.end(ctx)
	total := int64(0)
	committed := try(admin.FetchOffsets(ctx, "members"))
	committed.Each(func(each kadm.OffsetResponse) { total += each.At })
	check(total == 400, total)
	_, err := try(admin.DeleteGroups(ctx, "members")).On("members", nil)
	must(err)
	fmt.Println("group")
}
