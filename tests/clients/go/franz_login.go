// What franz-go does to log in: it writes a record by each mechanism, is refused with a
// wrong password, and goes on writing while its session ends again and again.
//
// Arguments: the bootstrap server, the user's name and password, and a token. Prints the
// name of each check that holds, and ends with status 0 if all of them do.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var server, user, password, token = os.Args[1], os.Args[2], os.Args[3], os.Args[4]

func write(ctx context.Context, client *kgo.Client) (int64, error) {
	record, err := client.ProduceSync(ctx, &kgo.Record{Topic: "franz", Value: []byte("x")}).First()
	if err != nil {
		return -1, err
	}
	return record.Offset, nil
}

func by(mechanism sasl.Mechanism) *kgo.Client {
	return try(kgo.NewClient(kgo.SeedBrokers(server), kgo.SASL(mechanism),
		kgo.AllowAutoTopicCreation(), kgo.RetryTimeout(20*time.Second)))
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	right := scram.Auth{User: user, Pass: password}
	wrong := scram.Auth{User: user, Pass: "wrong"}
	mechanisms := []sasl.Mechanism{
		plain.Auth{User: user, Pass: password}.AsMechanism(),
		right.AsSha256Mechanism(),
		right.AsSha512Mechanism(),
		oauth.Auth{Token: token}.AsMechanism(),
	}
	for offset, mechanism := range mechanisms {
		client := by(mechanism)
		check(try(write(ctx, client)) == int64(offset), mechanism.Name())
		client.Close()
		fmt.Println(mechanism.Name())
	}
	for _, mechanism := range []sasl.Mechanism{
		plain.Auth{User: user, Pass: "wrong"}.AsMechanism(), wrong.AsSha512Mechanism(),
	} {
		client := by(mechanism)
		err := client.Ping(ctx)
		check(errors.Is(err, kerr.SaslAuthenticationFailed), mechanism.Name(), err)
		client.Close()
	}
	fmt.Println("refused")
	client := by(right.AsSha256Mechanism())
	defer client.Close()
	for number := int64(4); number < 54; number++ {
		check(try(write(ctx, client)) == number, number)
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Println("renewed")
}
