// What Sarama does: it administers topics, writes, reads, and shares a topic in a group.
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

	"github.com/IBM/sarama"
)

var servers = []string{os.Args[1]}

func config(version sarama.KafkaVersion) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = version
	c.Producer.Return.Successes = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return c
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	admin := try(sarama.NewClusterAdmin(servers, config(sarama.MaxVersion)))
	defer admin.Close()

	topics(admin)
	for _, codec := range []sarama.CompressionCodec{
		sarama.CompressionNone,
		sarama.CompressionGZIP,
		sarama.CompressionSnappy,
		sarama.CompressionLZ4,
		sarama.CompressionZSTD,
	} {
		c := config(sarama.MaxVersion)
		c.Producer.Compression = codec
		records(ctx, admin, "records-"+codec.String(), c)
	}
	records(ctx, admin, "records-default", config(sarama.DefaultVersion))
	records(ctx, admin, "records-old", config(sarama.V0_10_2_0))
	idempotent := config(sarama.MaxVersion)
	idempotent.Producer.Idempotent = true
	idempotent.Producer.RequiredAcks = sarama.WaitForAll
	idempotent.Net.MaxOpenRequests = 1
	records(ctx, admin, "records-idempotent", idempotent)
	fmt.Println("records")
	group(ctx, admin)
}

// Topics: created, grown, configured, deleted.
func topics(admin sarama.ClusterAdmin) {
	must(admin.CreateTopic("made", &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false))
	must(admin.CreatePartitions("made", 5, nil, false))
	described := try(admin.DescribeTopics([]string{"made"}))
	check(len(described[0].Partitions) == 5, described[0].Partitions)
	value := "1000"
	must(admin.AlterConfig(
		sarama.TopicResource, "made", map[string]*string{"retention.ms": &value}, false))
	found := try(admin.DescribeConfig(sarama.ConfigResource{
		Type: sarama.TopicResource, Name: "made", ConfigNames: []string{"retention.ms"}}))
	check(found[0].Value == value, found)
	must(admin.DeleteTopic("made"))
	_, there := try(admin.ListTopics())["made"]
	check(!there, "still listed")
	fmt.Println("topics")
}

func write(topic string, from, to int, c *sarama.Config) {
	producer := try(sarama.NewSyncProducer(servers, c))
	defer producer.Close()
	var all []*sarama.ProducerMessage
	for i := from; i < to; i++ {
		text := strconv.Itoa(i)
		message := &sarama.ProducerMessage{
			Topic:     topic,
			Key:       sarama.StringEncoder(text),
			Value:     sarama.StringEncoder(text),
			Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)),
		}
		if c.Version.IsAtLeast(sarama.V0_11_0_0) {
			message.Headers = []sarama.RecordHeader{{Key: []byte("number"), Value: []byte(text)}}
		}
		all = append(all, message)
	}
	must(producer.SendMessages(all))
}

// Records come back as they were written, and are found by their time.
func records(ctx context.Context, admin sarama.ClusterAdmin, topic string, c *sarama.Config) {
	must(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false))
	write(topic, 0, 1000, c)
	client := try(sarama.NewClient(servers, c))
	defer client.Close()
	consumer := try(sarama.NewConsumerFromClient(client))
	defer consumer.Close()
	partition := try(consumer.ConsumePartition(topic, 0, sarama.OffsetOldest))
	defer partition.Close()
	for i := 0; i < 1000; i++ {
		select {
		case each := <-partition.Messages():
			check(string(each.Value) == strconv.Itoa(i), i, each)
			check(string(each.Key) == string(each.Value), each)
			check(each.Timestamp.UnixMilli() == 1_700_000_000_000+int64(i), each)
			if c.Version.IsAtLeast(sarama.V0_11_0_0) {
				check(string(each.Headers[0].Value) == string(each.Value), each)
			}
		case <-ctx.Done():
			panic(fmt.Sprint(i, " records"))
		}
	}
	check(try(client.GetOffset(topic, 0, sarama.OffsetNewest)) == 1000, "end")
	found := try(client.GetOffset(topic, 0, 1_700_000_000_040))
	check(found == 40, "at the time: ", found)
}

// A member of a group, and how many partitions it has.
type member struct {
	group    sarama.ConsumerGroup
	seen     *sync.Map
	lock     sync.Mutex
	assigned int
	done     chan struct{}
}

func (m *member) has() int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.assigned
}

func (m *member) set(count int) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.assigned = count
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.set(len(session.Claims()["shared"]))
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.set(0)
	return nil
}

func (m *member) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.seen.Store(string(message.Value), true)
		session.MarkMessage(message, "")
	}
	return nil
}

func join(ctx context.Context, seen *sync.Map) *member {
	m := &member{
		group: try(sarama.NewConsumerGroup(servers, "members", config(sarama.MaxVersion))),
		seen:  seen,
		done:  make(chan struct{}),
	}
	go func() {
		defer close(m.done)
		for m.group.Consume(ctx, []string{"shared"}, m) == nil {
		}
	}()
	return m
}

func (m *member) end() {
	must(m.group.Close())
	<-m.done
}

// Two members share a topic; one takes over when the other leaves.
func group(ctx context.Context, admin sarama.ClusterAdmin) {
	must(admin.CreateTopic("shared", &sarama.TopicDetail{NumPartitions: 4, ReplicationFactor: 1}, false))
	write("shared", 0, 200, config(sarama.MaxVersion))
	seen := &sync.Map{}
	first := join(ctx, seen)
	until(ctx, "alone", func() bool { return first.has() == 4 && size(seen) == 200 })
	second := join(ctx, seen)
	until(ctx, "halves", func() bool { return first.has() == 2 && second.has() == 2 })
	write("shared", 200, 400, config(sarama.MaxVersion))
	until(ctx, "all records", func() bool { return size(seen) == 400 })
	first.end()
	until(ctx, "one is left", func() bool { return second.has() == 4 })
	second.end()
	committed := try(admin.ListConsumerGroupOffsets("members", nil))
	total := int64(0)
	for _, each := range committed.Blocks["shared"] {
		total += each.Offset
	}
	check(total == 400, total)
	must(admin.DeleteConsumerGroup("members"))
	fmt.Println("group")
}
