// Logs in by Sarama; login.go has the rest. Its SCRAM is that of xdg-go, as in its own
// examples.
package main

import (
	"strconv"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

type conversation struct {
	hash scram.HashGeneratorFcn
	*scram.ClientConversation
}

func (c *conversation) Begin(user, password, authzID string) error {
	client, err := c.hash.NewClient(user, password, authzID)
	if err == nil {
		c.ClientConversation = client.NewConversation()
	}
	return err
}

type provider struct{ login }

func (p provider) Token() (*sarama.AccessToken, error) {
	token, err := p.token()
	return &sarama.AccessToken{Token: token}, err
}

type producing struct {
	login
	producer sarama.SyncProducer
	offsets  []int64
	failure  error
}

func (l login) config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Return.Successes = true
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	config.Consumer.MaxWaitTime = 50 * time.Millisecond
	if tls := l.tls(); tls != nil {
		config.Net.TLS.Enable, config.Net.TLS.Config = true, tls
	}
	if l.Mechanism != "" {
		config.Net.SASL.Enable = true
		config.Net.SASL.Mechanism = sarama.SASLMechanism(l.Mechanism)
		config.Net.SASL.User, config.Net.SASL.Password = l.User, l.Password
		config.Net.SASL.TokenProvider = provider{l}
		config.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient {
			if l.Mechanism == sarama.SASLTypeSCRAMSHA256 {
				return &conversation{hash: scram.SHA256}
			}
			return &conversation{hash: scram.SHA512}
		}
	}
	return config
}

func (l login) open() (client, error) {
	producer, err := sarama.NewSyncProducer([]string{l.Server}, l.config())
	return &producing{login: l, producer: producer}, err
}

func (p *producing) write(value string) {
	_, offset, err := p.producer.SendMessage(
		&sarama.ProducerMessage{Topic: p.Topic, Value: sarama.StringEncoder(value)})
	p.offsets = append(p.offsets, offset)
	if err != nil {
		p.failure = err
	}
}

func (p *producing) finish() ([]int64, error) {
	must(p.producer.Close())
	return p.offsets, p.failure
}

func (p *producing) read(goes func(read int) bool) ([]int, error) {
	consumer, err := sarama.NewConsumer([]string{p.Server}, p.config())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(p.Topic, 0, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	var numbers []int
	for goes(len(numbers)) {
		select {
		case message := <-partition.Messages():
			numbers = append(numbers, try(strconv.Atoi(string(message.Value))))
		case <-time.After(200 * time.Millisecond):
		}
	}
	return numbers, nil
}
