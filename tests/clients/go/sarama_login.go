// What Sarama does to log in: it writes a record by each mechanism, and is refused with a
// wrong password. Its SCRAM is that of xdg-go, as in its own examples.
//
// Arguments: the bootstrap server, the user's name and password, and a token. Prints the
// name of each check that holds, and ends with status 0 if all of them do.
package main

import (
	"fmt"
	"os"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

var server, user, password, token = os.Args[1], os.Args[2], os.Args[3], os.Args[4]

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

type provider struct{}

func (provider) Token() (*sarama.AccessToken, error) {
	return &sarama.AccessToken{Token: token}, nil
}

func write(mechanism string, password string) (int64, error) {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Net.SASL.Enable = true
	config.Net.SASL.Mechanism = sarama.SASLMechanism(mechanism)
	config.Net.SASL.User = user
	config.Net.SASL.Password = password
	config.Net.SASL.TokenProvider = provider{}
	config.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient {
		if mechanism == sarama.SASLTypeSCRAMSHA256 {
			return &conversation{hash: scram.SHA256}
		}
		return &conversation{hash: scram.SHA512}
	}
	producer, err := sarama.NewSyncProducer([]string{server}, config)
	if err != nil {
		return -1, err
	}
	defer producer.Close()
	_, offset, err := producer.SendMessage(
		&sarama.ProducerMessage{Topic: "sarama", Value: sarama.StringEncoder("x")})
	return offset, err
}

func main() {
	for offset, mechanism := range []string{
		sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512,
		sarama.SASLTypeOAuth,
	} {
		check(try(write(mechanism, password)) == int64(offset), mechanism)
		fmt.Println(mechanism)
	}
	for _, mechanism := range []string{sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA256} {
		_, err := write(mechanism, "wrong")
		check(err != nil, mechanism)
	}
	fmt.Println("refused")
}
