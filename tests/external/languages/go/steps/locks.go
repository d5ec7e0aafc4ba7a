package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"getlock"
)

func acquire(s *stage) {
	guard := s.mustTake()
	s.eye.mustSay(fmt.Sprint(guard.Session()), "IS_USED_LOCK "+s.name)
	check(guard.Held() && guard.Name() == s.name && guard.Err() == nil, "it is not held")
	s.mustRelease(guard)
	s.isFree()
	s.mustRelease(guard) // says the same again
	check(!guard.Held() && guard.Context().Err() != nil, "it is still held")
	next := s.mustTake()
	check(next.FencingToken() > guard.FencingToken(), "%d after %d", next.FencingToken(), guard.FencingToken())
	s.mustRelease(next)
}

func tryLock(s *stage) {
	s.othersHold()
	start := time.Now()
	guard, err := s.locks.TryLock(ctx, s.name)
	check(guard == nil && errors.Is(err, getlock.ErrNotGranted), "%v", err)
	check(time.Since(start) < 5*time.Second, "it waited")
	s.othersLeave()
	guard, err = s.locks.TryLock(ctx, s.name)
	check(err == nil, "%v", err)
	s.mustRelease(guard)
}

func notGranted(s *stage) {
	s.othersHold()
	start := time.Now()
	guard, err := s.locks.Acquire(ctx, s.name, 50*time.Millisecond)
	check(guard == nil && errors.Is(err, getlock.ErrNotGranted), "%v", err)
	check(errors.Is(err, os.ErrDeadlineExceeded), "it is no time-out")
	timeout, ok := err.(interface{ Timeout() bool })
	check(ok && timeout.Timeout(), "it does not say that it is a time-out")
	check(time.Since(start) >= 50*time.Millisecond, "it did not wait")
}

// neverRuns is a body that must not run.
type neverRuns struct{ ran bool }

func (n *neverRuns) body(context.Context, *getlock.Guard) error {
	n.ran = true
	return nil
}

func (n *neverRuns) leaseBody(context.Context, *getlock.Lease) error {
	n.ran = true
	return nil
}

func bodyNeedsTheLock(s *stage) {
	s.othersHold()
	var never neverRuns
	for _, mode := range []getlock.Mode{getlock.Exclusive, getlock.Shared} {
		err := s.locks.Lock(ctx, s.name, 10*time.Millisecond, never.body, mode)
		check(errors.Is(err, getlock.ErrNotGranted) && !never.ran, "%v, ran: %v", err, never.ran)
	}
}

var errBody = errors.New("the body's own")

func bodyResult(s *stage) {
	result := 0
	err := s.locks.Lock(ctx, s.name, 0, func(_ context.Context, guard *getlock.Guard) error {
		result = 42
		s.eye.mustSay("0", "IS_FREE_LOCK "+s.name)
		return nil
	})
	check(err == nil && result == 42, "%v, %d", err, result)
	s.isFree()
	err = s.locks.Lock(ctx, s.name, 0, func(context.Context, *getlock.Guard) error { return errBody })
	check(err == errBody, "%v", err)
	s.isFree()
	func() {
		defer func() { check(recover() == errBody, "the panic is another one") }()
		s.locks.Lock(ctx, s.name, 0, func(context.Context, *getlock.Guard) error { panic(errBody) })
	}()
	s.isFree()
}

func shared(s *stage) {
	one, two := s.mustTake(getlock.Shared), s.mustTake(getlock.Shared)
	s.other.mustSay("0", "GET_LOCK "+s.name+" 0")
	s.mustRelease(one)
	s.other.mustSay("0", "GET_LOCK "+s.name+" 0")
	s.mustRelease(two)
	s.other.mustSay("1", "GET_LOCK "+s.name+" 0")
}

func refused(s *stage) {
	var never neverRuns
	err := s.locks.Lock(ctx, "", getlock.Forever, never.body)
	check(isRefused(err, "BAD_NAME") && !never.ran, "%v", err)
	oddAnswers(s)
}

func serverAway(s *stage) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "%v", err)
	nobody.Close()
	locks := getlock.Server{Addr: nobody.Addr().String(), Retry: 300 * time.Millisecond}
	var never neverRuns
	start := time.Now()
	err = locks.Lock(ctx, s.name, getlock.Forever, never.body)
	took := time.Since(start)
	check(err != nil && !errors.Is(err, getlock.ErrNotGranted) && !never.ran, "%v", err)
	check(took > 100*time.Millisecond && took < 10*time.Second, "after %v", took)
}

func killedWaiting(s *stage) { s.endedBy("KILL ", "KILLED") }

func interruptedWaiting(s *stage) { s.endedBy("KILL QUERY ", "INTERRUPTED") }

func (s *stage) endedBy(verb, symbol string) {
	s.othersHold()
	var never neverRuns
	result := later(func() error { return s.locks.Lock(ctx, s.name, getlock.Forever, never.body) })
	s.eye.mustSay("1", verb+s.waiters(1)[0])
	err := within("the wait is over", result)
	check(isRefused(err, symbol) && !never.ran, "%v", err)
	s.waiters(0)
}

// causeOf is context.Cause where Go has it.
var causeOf func(context.Context) error

func lostInTheBody(s *stage) {
	err := s.locks.Lock(ctx, s.name, 0, func(ctx context.Context, guard *getlock.Guard) error {
		s.kill(guard.Session())
		within("the loss is told", guard.Lost())
		within("the context ends", ctx.Done())
		check(!guard.Held() && isLost(guard.Err(), "KILLED"), "%v", guard.Err())
		check(causeOf == nil || isLost(causeOf(ctx), "KILLED"), "the cause is another one")
		return nil
	})
	check(isLost(err, "KILLED"), "%v", err)
	s.mustRelease(s.mustTake())
	oddWords(s)
}

func lostAndRaised(s *stage) {
	for _, own := range []error{errBody, context.Canceled} {
		err := s.locks.Lock(ctx, s.name, 0, func(ctx context.Context, guard *getlock.Guard) error {
			s.kill(guard.Session())
			within("the loss is told", guard.Lost())
			return own
		})
		var refused *getlock.Refused
		check(errors.Is(err, own) && isLost(err, "KILLED"), "%v", err)
		check(errors.As(err, &refused) && refused.Symbol == "KILLED", "a loss is no refusal")
	}
}

func releaseAfterLoss(s *stage) {
	for _, told := range []bool{true, false} {
		guard := s.mustTake()
		s.kill(guard.Session())
		if told {
			within("the loss is told", guard.Lost())
		}
		for again := 0; again < 2; again++ {
			err := guard.Release()
			check(isLost(err, "KILLED"), "%v", err)
		}
	}
	drained(s)
}
