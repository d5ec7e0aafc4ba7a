package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"getlock"
)

const second = getlock.TTL(time.Second)

func lease(s *stage) {
	s.leases.StopWithin = 50 * time.Millisecond
	lease, err := s.leases.Acquire(ctx, s.name, 0, second, getlock.Client("go"), getlock.Note("a step"))
	check(err == nil, "%v", err)
	check(lease.FencingToken() > 0 && len(lease.LeaseToken()) == 32, "its tokens are wrong")
	row := s.eye.ask("LOCKS " + s.name)
	check(strings.Contains(row, "client=go note='a step'"), "%s", row)
	check(s.eye.line() == "END 1", "it is not the only one")
	time.Sleep(3 * time.Second)
	check(lease.Held() && lease.Err() == nil, "%v", lease.Err())
	s.eye.mustSay("0", "IS_FREE_LOCK "+s.name)
	s.mustRelease(lease)
	s.isFree()
	check(!lease.Held(), "it is still held")

	// One that was waited for longer than it runs.
	s.othersHold()
	result := later(func() (err error) {
		lease, err = s.leases.Acquire(ctx, s.name, getlock.Forever, second, getlock.Shared)
		return err
	})
	s.waiters(1)
	time.Sleep(1100 * time.Millisecond)
	s.othersLeave()
	err = within("it is granted", result)
	check(err == nil && lease.Held(), "%v", err)
	s.mustRelease(lease)
	s.isFree()
}

func leaseNotGranted(s *stage) {
	s.othersHold()
	var never neverRuns
	for _, timeout := range []time.Duration{0, 50 * time.Millisecond} {
		err := s.leases.Lock(ctx, s.name, timeout, never.leaseBody)
		check(errors.Is(err, getlock.ErrNotGranted) && !never.ran, "%v", err)
	}
	none, err := s.leases.TryLock(ctx, s.name)
	check(none == nil && errors.Is(err, getlock.ErrNotGranted), "%v", err)
	err = s.leases.Lock(ctx, "", 0, never.leaseBody)
	check(isRefused(err, "BadRequest") && !never.ran, "%v", err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"success":true,"status":"Acquired","fencingToken":41}`)
	}))
	defer server.Close()
	err = getlock.Leases{URL: server.URL}.Lock(ctx, s.name, 0, never.leaseBody)
	check(err != nil && !never.ran, "a lease without a token")
}

func leaseLost(s *stage) {
	err := s.leases.Lock(ctx, s.name, 0, func(ctx context.Context, lease *getlock.Lease) error {
		s.kill(s.eye.ask("IS_USED_LOCK " + s.name))
		within("the loss is told", lease.Lost())
		within("the context ends", ctx.Done())
		check(!lease.Held(), "it is held")
		return nil
	}, second)
	check(isLost(err, "NotFound"), "%v", err)
}

func leaseInTime(s *stage) {
	var beats int32
	arrived := make(chan time.Time, 1)
	end := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/acquire"):
			fmt.Fprint(w, `{"success":true,"status":"Acquired","lockToken":"0","fencingToken":41}`)
		case atomic.AddInt32(&beats, 1) == 1:
			arrived <- time.Now()
			fmt.Fprint(w, `{"success":true,"status":"HeartbeatReceived","lockToken":"0","fencingToken":41}`)
		default:
			<-end
		}
	}))
	defer server.Close()
	defer close(end)
	leases := getlock.Leases{URL: server.URL, StopWithin: 400 * time.Millisecond}
	lease, err := leases.Acquire(ctx, s.name, 0, second)
	check(err == nil && lease.FencingToken() == 41, "%v", err)
	first := within("a heartbeat", arrived)
	within("the loss is told", lease.Lost())
	took := time.Since(first)
	check(took < time.Second && took > 200*time.Millisecond, "told %v after the heartbeat", took)
	check(!lease.Held() && isLost(lease.Release(), ""), "%v", lease.Err())
	doubtful()
}

// doubtful is a server whose heartbeats are no success.
func doubtful() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isGood := strings.HasSuffix(r.URL.Path, "/acquire")
		fmt.Fprintf(w, `{"success":%v,"status":"Unavailable","lockToken":"0","fencingToken":41}`, isGood)
	}))
	defer server.Close()
	lease, err := getlock.Leases{URL: server.URL}.Acquire(ctx, "doubtful", 0, second)
	check(err == nil, "%v", err)
	time.Sleep(900 * time.Millisecond)
	check(!lease.Held(), "a heartbeat that is no success has renewed it")
}
