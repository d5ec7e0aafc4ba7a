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

// All of several locks or none: the wait for them holds nothing.
func ExampleAlso() {
	err := getlock.Server{}.Lock(context.Background(), "account:1", 10*time.Second,
		func(ctx context.Context, guard *getlock.Guard) error {
			return backup(ctx, guard.FencingToken())
		}, getlock.Also{"account:2"})
	if errors.Is(err, getlock.ErrNotGranted) {
		fmt.Println("others hold", getlock.InTheWay(err))
	}
}

// At most three hold it together. The holder is told when another waits.
func ExampleLimit() {
	told := getlock.OnWaiter(func(event getlock.Event) { fmt.Println(event.Waiters, "wait") })
	guard, err := getlock.Server{}.Acquire(context.Background(), "gpu", getlock.Forever, getlock.Limit(3), told)
	if err != nil {
		log.Fatal(err)
	}
	defer guard.Release()
}

func ExampleServer_Watch() {
	watch, err := getlock.Server{}.Watch(context.Background(), "app/")
	if err != nil {
		log.Fatal(err)
	}
	for event := range watch.Events() {
		fmt.Println(event.Kind, event.Name, event.Session)
	}
	log.Fatal(watch.Err())
}

// The context of the function ends when leadership is lost. It then runs again in the next term.
func ExampleServer_Lead() {
	var locks getlock.Server
	err := locks.Lead(context.Background(), "scheduler", func(ctx context.Context, guard *getlock.Guard) error {
		return backup(ctx, guard.FencingToken())
	})
	log.Fatal(err)
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
