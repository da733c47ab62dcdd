package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func main() {
	ca, err := os.ReadFile("ca.crt")
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	password, err := os.ReadFile("shop.secret")
	if err != nil {
		panic(err)
	}
	login := scram.Auth{User: "shop", Pass: strings.TrimSpace(string(password))}

	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Args[1]),
		kgo.DialTLSConfig(&tls.Config{RootCAs: roots}),
		kgo.SASL(login.AsSha512Mechanism()),
	)
	if err != nil {
		panic(err)
	}
	defer client.Close()
	record := kgo.StringRecord("from franz-go")
	record.Topic = "orders"
	stored, err := client.ProduceSync(context.Background(), record).First()
	if err != nil {
		panic(err)
	}
	fmt.Println("stored at offset", stored.Offset)
}
