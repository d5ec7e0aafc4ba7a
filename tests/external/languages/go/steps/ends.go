package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"getlock"
)

// takes are the two ways to take a lock, for steps that are about both.
func (s *stage) takes() map[string]func(context.Context) (interface{ Release() error }, error) {
	return map[string]func(context.Context) (interface{ Release() error }, error){
		"lock": func(ctx context.Context) (interface{ Release() error }, error) {
			return s.locks.Acquire(ctx, s.name, getlock.Forever)
		},
		"lease": func(ctx context.Context) (interface{ Release() error }, error) {
			return s.leases.Acquire(ctx, s.name, getlock.Forever)
		},
	}
}

func endedWhileWaiting(s *stage) {
	for kind, take := range s.takes() {
		s.othersHold()
		ctx, cancel := context.WithCancel(ctx)
		result := later(func() error {
			_, err := take(ctx)
			return err
		})
		s.waiters(1)
		cancel()
		err := within("the wait is over", result)
		check(err == context.Canceled, "%s: %v", kind, err)
		s.waiters(0)
		s.othersLeave()
		s.isFree()
	}
	s.othersHold()
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err := s.locks.Acquire(ctx, s.name, getlock.Forever)
	check(err == context.DeadlineExceeded && !errors.Is(err, getlock.ErrNotGranted), "%v", err)
}

func endedAsGranted(s *stage) {
	for _, take := range s.takes() {
		for round := 0; round < 20; round++ {
			s.othersHold()
			ctx, cancel := context.WithCancel(ctx)
			result := later(func() error {
				held, err := take(ctx)
				if err == nil {
					err = held.Release()
				}
				return err
			})
			s.waiters(1)
			s.other.send("RELEASE_LOCK " + s.name)
			time.Sleep(time.Duration(round) * 50 * time.Microsecond)
			cancel()
			check(s.other.line() == "1", "it was not held")
			err := within("the wait is over", result)
			check(err == nil || err == context.Canceled, "%v", err)
			s.becomesFree()
		}
	}
}

func endedWhileHolding(s *stage) {
	ctx, cancel := context.WithCancel(ctx)
	err := s.locks.Lock(ctx, s.name, 0, func(ctx context.Context, guard *getlock.Guard) error {
		cancel()
		within("the context ends", ctx.Done())
		check(guard.Held(), "it is free in the midst of the body")
		return ctx.Err()
	})
	check(err == context.Canceled, "%v", err)
	s.isFree()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.locks.Lock(context.Background(), s.name, 0, func(context.Context, *getlock.Guard) error {
			runtime.Goexit()
			return nil
		})
	}()
	within("the goroutine ends", gone)
	s.isFree()
}

// holdBesideACommand is another process, which tells the id of the command that it has started.
func holdBesideACommand(port, name string) {
	guard, err := getlock.Server{Addr: "127.0.0.1:" + port}.Acquire(ctx, name, 0)
	if err != nil {
		panic(err)
	}
	command := exec.Command("sleep", "60")
	if err := command.Start(); err != nil {
		panic(err)
	}
	fmt.Println(command.Process.Pid)
	<-guard.Lost()
}

func closeOnExec(s *stage) {
	holder := exec.Command(os.Args[0], "hold", s.linePort, s.name)
	out, err := holder.StdoutPipe()
	check(err == nil && holder.Start() == nil, "it does not start")
	said, err := bufio.NewReader(out).ReadString('\n')
	check(err == nil, "it says nothing: %v", err)
	id, err := strconv.Atoi(strings.TrimSpace(said))
	check(err == nil, "it says %s", said)
	command, _ := os.FindProcess(id)
	defer command.Kill()
	s.eye.mustSay("0", "IS_FREE_LOCK "+s.name)
	holder.Process.Kill()
	holder.Wait()
	s.becomesFree()
	check(command.Signal(syscall.Signal(0)) == nil, "the command has ended")
}

func forever(s *stage) {
	for _, timeout := range []time.Duration{getlock.Forever, -time.Hour, math.MinInt64, math.MaxInt64, 1 << 62} {
		s.othersHold()
		var guard *getlock.Guard
		result := later(func() (err error) {
			guard, err = s.locks.Acquire(ctx, s.name, timeout)
			return err
		})
		s.waiters(1)
		s.othersLeave()
		err := within("it is granted", result)
		check(err == nil, "%v: %v", timeout, err)
		s.mustRelease(guard)
	}
}

// untouched is a server that nobody may come to.
type untouched struct {
	net.Listener
	came int32
}

func nobodyComes() *untouched {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "%v", err)
	u := &untouched{Listener: listener}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			atomic.AddInt32(&u.came, 1)
			conn.Close()
		}
	}()
	return u
}

func (u *untouched) end() {
	u.Close()
	check(atomic.LoadInt32(&u.came) == 0, "there was a connection")
}

// The compiler refuses other types; install sees that it does. Here is what it lets pass.
func wrongTimeouts(s *stage) {
	server := nobodyComes()
	leases := getlock.Leases{URL: "http://" + server.Addr().String()}
	for _, ttl := range []getlock.TTL{0, -1, getlock.TTL(time.Microsecond), math.MinInt64} {
		_, err := leases.Acquire(ctx, s.name, 0, ttl)
		check(err != nil, "a TTL of %v", time.Duration(ttl))
	}
	locks := getlock.Server{Addr: server.Addr().String(), StopWithin: -time.Second}
	_, err := locks.Acquire(ctx, s.name, 0)
	check(err != nil, "a negative StopWithin")
	_, err = getlock.Server{Addr: locks.Addr, Retry: -1}.Acquire(ctx, s.name, 0)
	check(err != nil, "a negative Retry")
	leases.StopWithin = 30 * time.Second
	_, err = leases.Acquire(ctx, s.name, 0)
	check(err != nil, "a StopWithin that is too long for 45 s")
	server.end()
}

func wrongArguments(s *stage) {
	server := nobodyComes()
	locks := getlock.Server{Addr: server.Addr().String()}
	leases := getlock.Leases{URL: "http://" + server.Addr().String()}
	check(locks.Lock(ctx, s.name, 0, nil) != nil, "no body")
	check(leases.Lock(ctx, s.name, 0, nil) != nil, "no body of a lease")
	_, err := locks.Acquire(ctx, "no text: \xff", 0)
	check(isRefused(err, "BAD_NAME"), "%v", err)
	_, err = leases.Acquire(ctx, "no text: \xff", 0)
	check(isRefused(err, "BAD_NAME"), "%v", err)
	server.end()
}
