// What kafka-go does: it administers topics, writes, reads, and shares a topic in a group.
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

	"github.com/segmentio/kafka-go"
)

var server = os.Args[1]

// The library believes the metadata that it has for 6 seconds, by default.
var transport = &kafka.Transport{MetadataTTL: 50 * time.Millisecond}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(server), Transport: transport}

	topics(ctx, client)
	for name, codec := range map[string]kafka.Compression{
		"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
	} {
		records(ctx, client, "records-"+name, codec)
	}
	fmt.Println("records")
	group(ctx, client)
}

func create(ctx context.Context, client *kafka.Client, name string, partitions int) {
	made := try(client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{
			{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}}}))
	must(made.Errors[name])
	until(ctx, "made", func() bool { return partitionsOf(ctx, client, name) == partitions })
}

func partitionsOf(ctx context.Context, client *kafka.Client, name string) int {
	found := try(client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{name}}))
	count := 0
	for _, each := range found.Topics {
		count += len(each.Partitions)
	}
	return count
}

// Topics: created, grown, configured, deleted.
func topics(ctx context.Context, client *kafka.Client) {
	create(ctx, client, "made", 2)
	grown := try(client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: "made", Count: 5}}}))
	must(grown.Errors["made"])
	until(ctx, "five partitions", func() bool { return partitionsOf(ctx, client, "made") == 5 })
	altered := try(client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic,
			ResourceName: "made",
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{
				Name: "retention.ms", Value: "1000", ConfigOperation: kafka.ConfigOperationSet}},
		}}}))
	must(altered.Resources[0].Error)
	found := try(client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeTopic,
			ResourceName: "made",
			ConfigNames:  []string{"retention.ms"},
		}}}))
	check(found.Resources[0].ConfigEntries[0].ConfigValue == "1000", found)
	deleted := try(client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{"made"}}))
	must(deleted.Errors["made"])
	until(ctx, "not listed", func() bool { return partitionsOf(ctx, client, "made") == 0 })
	fmt.Println("topics")
}

func write(ctx context.Context, topic string, from, to int, codec kafka.Compression) {
	writer := &kafka.Writer{
		Addr:         kafka.TCP(server),
		Transport:    transport,
		Topic:        topic,
		Compression:  codec,
		BatchTimeout: 10 * time.Millisecond,
	}
	var all []kafka.Message
	for i := from; i < to; i++ {
		text := []byte(strconv.Itoa(i))
		all = append(all, kafka.Message{
			Key:     text,
			Value:   text,
			Headers: []kafka.Header{{Key: "number", Value: text}},
			Time:    time.UnixMilli(1_700_000_000_000 + int64(i)),
		})
	}
	must(writer.WriteMessages(ctx, all...))
	must(writer.Close())
}

// Records come back as they were written, and are found by their time.
func records(ctx context.Context, client *kafka.Client, topic string, codec kafka.Compression) {
	create(ctx, client, topic, 1)
	write(ctx, topic, 0, 1000, codec)
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{server}, Topic: topic, MaxWait: 100 * time.Millisecond})
	defer reader.Close()
	for i := 0; i < 1000; i++ {
		each := try(reader.ReadMessage(ctx))
		check(string(each.Value) == strconv.Itoa(i), i, each)
		check(string(each.Key) == string(each.Value), each)
		check(string(each.Headers[0].Value) == string(each.Value), each)
		check(each.Time.UnixMilli() == 1_700_000_000_000+int64(i), each)
	}
	listed := try(client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(0)}}}))
	check(listed.Topics[topic][0].LastOffset == 1000, listed)
	must(reader.SetOffsetAt(ctx, time.UnixMilli(1_700_000_000_040)))
	check(reader.Offset() == 40, "at the time: ", reader.Offset())
}

// A member of a group: it counts what it reads.
type member struct {
	reader *kafka.Reader
	seen   sync.Map
	done   chan struct{}
}

func join(ctx context.Context) *member {
	m := &member{done: make(chan struct{})}
	m.reader = kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{server}, GroupID: "members", Topic: "shared", MaxWait: 100 * time.Millisecond})
	go func() {
		defer close(m.done)
		for {
			each, err := m.reader.ReadMessage(ctx)
			if err != nil {
				return
			}
			m.seen.Store(string(each.Value), true)
		}
	}()
	return m
}

func (m *member) end() {
	must(m.reader.Close())
	<-m.done
}

// Two members share a topic; one takes over when the other leaves.
func group(ctx context.Context, client *kafka.Client) {
	create(ctx, client, "shared", 4)
	write(ctx, "shared", 0, 200, 0)
	first := join(ctx)
	until(ctx, "alone", func() bool { return size(&first.seen) == 200 })
	second := join(ctx)
	// A reader does not say what it was assigned: each must get some of what comes.
	written := 200
	until(ctx, "both read", func() bool {
		write(ctx, "shared", written, written+100, 0)
		written += 100
		return size(&second.seen) > 0
	})
	until(ctx, "all records", func() bool { return size(&first.seen, &second.seen) == written })
	first.end()
	write(ctx, "shared", written, written+100, 0)
	written += 100
	until(ctx, "one is left", func() bool { return size(&first.seen, &second.seen) == written })
	second.end()
	fetched := try(client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: "members", Topics: map[string][]int{"shared": {0, 1, 2, 3}}}))
	total := int64(0)
	for _, each := range fetched.Topics["shared"] {
		must(each.Error)
		total += each.CommittedOffset
	}
	check(total == int64(written), total, " of ", written)
	fmt.Println("group")
}
