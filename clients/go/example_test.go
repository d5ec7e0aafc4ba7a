package getlock_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"getlock"
)

func backup(ctx context.Context, fencingToken int64) error { return ctx.Err() }

// The body runs while the lock is held, and never without it.
func ExampleServer_Lock() {
	var locks getlock.Server // at 127.0.0.1:3305
	err := locks.Lock(context.Background(), "nightly", 10*time.Second,
		func(ctx context.Context, guard *getlock.Guard) error {
			return backup(ctx, guard.FencingToken())
		})
	var lost *getlock.Lost
	switch {
	case errors.Is(err, getlock.ErrNotGranted):
		fmt.Println("somebody else does it")
	case errors.As(err, &lost):
		fmt.Println("the lock was lost in the middle of the work:", lost.Symbol)
	case err != nil:
		log.Fatal(err)
	}
}

// Over TLS, as a user, with work that needs five seconds to stop.
func ExampleServer() {
	locks := getlock.Server{
		Addr:       "locks.example.org",
		User:       "deploy",
		Password:   os.Getenv("GETLOCK_PASSWORD"),
		TLS:        &tls.Config{},
		StopWithin: 5 * time.Second,
	}
	fmt.Println(locks.Addr)
}

// A guard that outlives the function which takes it.
func ExampleServer_Acquire() {
	ctx := context.Background()
	guard, err := getlock.Server{}.Acquire(ctx, "leader", getlock.Forever)
	if err != nil {
		log.Fatal(err)
	}
	defer guard.Release()
	select {
	case <-guard.Lost():
		log.Fatal(guard.Err())
	case <-time.After(time.Hour):
	}
}

func ExampleServer_TryLock() {
	guard, err := getlock.Server{}.TryLock(context.Background(), "report", getlock.Shared)
	if errors.Is(err, getlock.ErrNotGranted) {
		fmt.Println("somebody writes it just now")
		return
	} else if err != nil {
		log.Fatal(err)
	}
	defer guard.Release()
}

// A lease needs no connection, and lists show whose it is.
func ExampleLeases_Lock() {
	var leases getlock.Leases // at http://127.0.0.1:3308
	err := leases.Lock(context.Background(), "nightly", time.Minute,
		func(ctx context.Context, lease *getlock.Lease) error {
			return backup(ctx, lease.FencingToken())
		}, getlock.TTL(30*time.Second), getlock.Client("web-1"), getlock.Note("backup"))
	if err != nil {
		log.Fatal(err)
	}
}
