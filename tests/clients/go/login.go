// What the programs that log in have in common. tests/clients/logins.py says what they do:
// the argument is a list of logins, as JSON, and what becomes of each is printed, in their
// order.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const seconds = 60 * time.Second

type login struct {
	Protocol, Server, Mechanism, User, Password, Token, Ca, Certificate, Topic, Over string
}

// A client that has logged in.
type client interface {
	// Writes a record without waiting for its answer.
	write(value string)
	// The offset of each record, in the order of writing.
	finish() ([]int64, error)
	// Reads from the start, for as long as `goes` holds.
	read(goes func(read int) bool) ([]int, error)
}

func main() {
	var logins []login
	must(json.Unmarshal([]byte(os.Args[1]), &logins))
	outcomes := make([]string, len(logins))
	var all sync.WaitGroup
	for i, each := range logins {
		all.Go(func() {
			outcomes[i] = "ok"
			if err := each.outcome(); err != nil {
				outcomes[i] = strings.ReplaceAll(err.Error(), "\n", " ")
			}
		})
	}
	all.Wait()
	for _, each := range outcomes {
		fmt.Println(each)
	}
}

func (l login) outcome() error {
	client, err := l.open()
	if err != nil {
		return err
	}
	limit := time.Now().Add(3 * time.Minute)
	over := func() bool {
		_, err := os.Stat(l.Over)
		return err == nil || time.Now().After(limit)
	}
	var underLoad []int
	var failure error
	var reading sync.WaitGroup
	reading.Go(func() {
		underLoad, failure = client.read(func(read int) bool {
			return read == 0 && time.Now().Before(limit) || !over()
		})
	})
	sent := 0
	for ; sent == 0 || !over(); sent++ {
		client.write(strconv.Itoa(sent))
		time.Sleep(50 * time.Millisecond)
	}
	reading.Wait()
	offsets, err := client.finish()
	if err != nil || failure != nil {
		return fmt.Errorf("at work: %v, %v", err, failure)
	}
	afterwards, err := client.read(func(read int) bool {
		return read < sent && time.Now().Before(limit)
	})
	if err != nil || len(offsets) != sent || len(afterwards) != sent || len(underLoad) == 0 {
		return fmt.Errorf("%d of %d written, %v read afterwards, %v under load: %v",
			len(offsets), sent, afterwards, underLoad, err)
	}
	for i := range sent {
		if offsets[i] != int64(i) || afterwards[i] != i || i < len(underLoad) && underLoad[i] != i {
			return fmt.Errorf("%d is at %d: %v, %v", i, offsets[i], afterwards, underLoad)
		}
	}
	return nil
}

// Nil if the login is not over TLS.
func (l login) tls() *tls.Config {
	if !strings.HasSuffix(l.Protocol, "SSL") {
		return nil
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	check(config.RootCAs.AppendCertsFromPEM(try(os.ReadFile(l.Ca))), l.Ca)
	if l.Certificate != "" {
		own := try(tls.LoadX509KeyPair(l.Certificate, l.Certificate))
		config.Certificates = []tls.Certificate{own}
	}
	return config
}

// A new token of the issuer.
func (l login) token() (string, error) {
	answer, err := http.Get(l.Token)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var fields struct {
		Token string `json:"access_token"`
	}
	err = json.NewDecoder(answer.Body).Decode(&fields)
	return fields.Token, err
}
