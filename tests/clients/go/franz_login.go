// Logs in by franz-go; login.go has the rest.
package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

type franz struct {
	login
	producer *kgo.Client
	lock     sync.Mutex
	offsets  []int64
	failure  error
}

func (l login) mechanism() sasl.Mechanism {
	password := scram.Auth{User: l.User, Pass: l.Password}
	switch l.Mechanism {
	case "PLAIN":
		return plain.Auth{User: l.User, Pass: l.Password}.AsMechanism()
	case "SCRAM-SHA-256":
		return password.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		return password.AsSha512Mechanism()
	}
	return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
		token, err := l.token()
		return oauth.Auth{Token: token}, err
	})
}

func (l login) connect(more ...kgo.Opt) *kgo.Client {
	options := []kgo.Opt{
		kgo.SeedBrokers(l.Server), kgo.DefaultProduceTopic(l.Topic), kgo.AllowAutoTopicCreation(),
		kgo.RetryTimeout(seconds), kgo.FetchMaxWait(50 * time.Millisecond),
	}
	if config := l.tls(); config != nil {
		options = append(options, kgo.DialTLSConfig(config))
	}
	if l.Mechanism != "" {
		options = append(options, kgo.SASL(l.mechanism()))
	}
	return try(kgo.NewClient(append(options, more...)...))
}

func (l login) open() (client, error) {
	made := &franz{login: l, producer: l.connect()}
	ctx, cancel := context.WithTimeout(context.Background(), seconds)
	defer cancel()
	return made, made.producer.Ping(ctx)
}

func (f *franz) write(value string) {
	record := &kgo.Record{Value: []byte(value)}
	f.producer.Produce(context.Background(), record, func(r *kgo.Record, err error) {
		f.lock.Lock()
		defer f.lock.Unlock()
		if err != nil {
			f.failure = err
		}
		f.offsets = append(f.offsets, r.Offset)
	})
}

func (f *franz) finish() ([]int64, error) {
	err := f.producer.Flush(context.Background())
	f.producer.Close()
	if err == nil {
		err = f.failure
	}
	return f.offsets, err
}

func (f *franz) read(goes func(read int) bool) ([]int, error) {
	consumer := f.connect(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		f.Topic: {0: kgo.NewOffset().AtStart()},
	}))
	defer consumer.Close()
	var numbers []int
	for goes(len(numbers)) {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		consumer.PollFetches(ctx).EachRecord(func(record *kgo.Record) {
			numbers = append(numbers, try(strconv.Atoi(string(record.Value))))
		})
		cancel()
	}
	return numbers, nil
}
