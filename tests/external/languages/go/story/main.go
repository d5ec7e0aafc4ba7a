// What tests/external/languages.rs tells the client of Go to do.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"getlock"
)

var input = bufio.NewScanner(os.Stdin)

func command() []string {
	if !input.Scan() {
		os.Exit(0)
	}
	return strings.SplitN(strings.ReplaceAll(input.Text(), "␤", "\n"), " ", 3)
}

// lock holds a lock until it is told what to do, and says what has become of it.
func lock(locks getlock.Server, words []string) {
	timeout, err := time.ParseDuration(words[1] + "s")
	if err != nil {
		panic(err)
	}
	verb := ""
	err = locks.Lock(context.Background(), words[2], timeout, func(ctx context.Context, guard *getlock.Guard) error {
		fmt.Println("granted", guard.FencingToken())
		verb = command()[0]
		switch {
		case verb == "watch":
			<-ctx.Done()
		case verb == "release" && guard.Release() == nil:
			fmt.Println("released")
		case verb == "release":
			fmt.Println("not released")
		}
		return nil
	}, getlock.Mode(words[0] == "shared"))
	var lost *getlock.Lost
	var refused *getlock.Refused
	switch {
	case err == nil && verb == "leave":
		fmt.Println("left")
	case err == nil:
	case errors.Is(err, getlock.ErrNotGranted):
		fmt.Println("none")
	case errors.As(err, &lost):
		fmt.Println(strings.TrimSpace("lost " + lost.Symbol))
	case errors.As(err, &refused):
		fmt.Println("refused", refused.Symbol)
	default:
		fmt.Println("away")
	}
}

func main() {
	host := os.Getenv("GETLOCK_HOST")
	if host == "" {
		host = "127.0.0.1"
	}
	locks := getlock.Server{Addr: host + ":" + os.Args[1]}
	locks.User, locks.Password = os.Getenv("GETLOCK_USER"), os.Getenv("GETLOCK_PASSWORD")
	if ca, err := os.ReadFile(os.Getenv("GETLOCK_CA")); err == nil {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		locks.TLS = &tls.Config{RootCAs: roots}
	}
	for {
		lock(locks, command())
	}
}
