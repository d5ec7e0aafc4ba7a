// What tests/languages.rs tells the client of Go to do.
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

func hold(guard *getlock.Guard) error {
	defer guard.Release()
	fmt.Println("granted", guard.Token)
	switch command()[0] {
	case "release":
		if guard.Release() == nil {
			fmt.Println("released")
		}
	case "watch":
		<-guard.Context().Done()
		<-guard.Lost()
	case "leave":
		if guard.Release() == nil {
			fmt.Println("left")
		}
	}
	return guard.Release()
}

func main() {
	locks := getlock.Server{Addr: "127.0.0.1:" + os.Args[1]}
	locks.User, locks.Password = os.Getenv("GETLOCK_USER"), os.Getenv("GETLOCK_PASSWORD")
	if ca, err := os.ReadFile(os.Getenv("GETLOCK_CA")); err == nil {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		locks.TLS = &tls.Config{RootCAs: roots}
	}
	for {
		words := command()
		timeout, err := time.ParseDuration(words[1] + "s")
		if err != nil {
			panic(err)
		}
		take := locks.Lock
		if words[0] == "shared" {
			take = locks.SharedLock
		}
		guard, err := take(context.Background(), words[2], timeout)
		if err == nil {
			err = hold(guard)
		}
		var lost *getlock.Lost
		var refused *getlock.Refused
		isRefused := errors.As(err, &refused)
		switch {
		case err == nil:
		case errors.As(err, &lost) && isRefused:
			fmt.Println("lost", refused.Symbol)
		case lost != nil:
			fmt.Println("lost")
		case isRefused:
			fmt.Println("refused", refused.Symbol)
		case errors.Is(err, getlock.ErrNotGranted):
			fmt.Println("none")
		default:
			fmt.Println("away")
		}
	}
}
