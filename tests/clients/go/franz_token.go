// What franz-go does to log in by a delegation token: it writes a record by each mechanism
// of SCRAM, and is refused if it does not say that it has a token.
//
// Arguments: the bootstrap server, and the id and the HMAC of the token. Prints the name of
// each check that holds, and ends with status 0 if all of them do.
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
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var server, id, hmac = os.Args[1], os.Args[2], os.Args[3]

func by(mechanism sasl.Mechanism) *kgo.Client {
	return try(kgo.NewClient(kgo.SeedBrokers(server), kgo.SASL(mechanism),
		kgo.AllowAutoTopicCreation(), kgo.RetryTimeout(20*time.Second)))
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	auth := scram.Auth{User: id, Pass: hmac, IsToken: true}
	for offset, mechanism := range []sasl.Mechanism{
		auth.AsSha256Mechanism(), auth.AsSha512Mechanism(),
	} {
		client := by(mechanism)
		record := &kgo.Record{Topic: "t", Value: []byte("x")}
		written := try(client.ProduceSync(ctx, record).First())
		check(written.Offset == int64(offset), mechanism.Name())
		client.Close()
		fmt.Println(mechanism.Name())
	}
	auth.IsToken = false
	client := by(auth.AsSha256Mechanism())
	defer client.Close()
	err := client.Ping(ctx)
	check(errors.Is(err, kerr.SaslAuthenticationFailed), err)
	fmt.Println("refused")
}
