package main

import (
	"errors"
	"strings"
	"time"

	"getlock"
)

// These steps need a server that knows several names, permits and events.

func severalOnAServer(s *stage) {
	a, b := s.name+":a", s.name+":b"
	s.other.mustSay("1", "GET_LOCK "+b+" 0")
	_, err := s.locks.Acquire(ctx, a, 0, getlock.Also{b})
	check(errors.Is(err, getlock.ErrNotGranted) && getlock.InTheWay(err) == b, "%v", err)
	granted := make(chan *getlock.Guard, 1)
	go func() {
		guard, _ := s.locks.Acquire(ctx, a, patience, getlock.Also{b})
		granted <- guard
	}()
	until("it waits", func() bool { return s.hasWaiter(b) })
	s.eye.mustSay("1", "IS_FREE_LOCK "+a) // the wait holds nothing
	s.other.mustSay("1", "RELEASE_LOCK "+b)
	guard := within("the grant", granted)
	check(guard != nil, "not granted")
	s.eye.mustSay(s.eye.ask("IS_USED_LOCK "+a), "IS_USED_LOCK "+b)
	s.mustRelease(guard)
	s.eye.mustSay("1", "IS_FREE_LOCK "+a)
	s.eye.mustSay("1", "IS_FREE_LOCK "+b)
	one, err := s.locks.Acquire(ctx, a, 0, getlock.Also{b}, getlock.Shared)
	check(err == nil, "%v", err)
	two, err := s.locks.Acquire(ctx, b, 0, getlock.Also{a}, getlock.Shared)
	check(err == nil, "%v", err)
	s.mustRelease(one)
	s.mustRelease(two)
	lease, err := s.leases.Acquire(ctx, a, 0, getlock.Also{b})
	check(err == nil && len(lease.Names()) == 2, "%v", err)
	s.eye.mustSay("0", "IS_FREE_LOCK "+b)
	_, err = s.leases.Acquire(ctx, s.name+":c", 0, getlock.Also{b})
	check(errors.Is(err, getlock.ErrNotGranted) && getlock.InTheWay(err) == b, "%v", err)
	s.mustRelease(lease)
	s.eye.mustSay("1", "IS_FREE_LOCK "+a)
	s.eye.mustSay("1", "IS_FREE_LOCK "+b)
}

func (s *stage) hasWaiter(name string) bool {
	line := s.eye.ask("WAITERS " + name)
	for last := line; !strings.HasPrefix(last, "END "); {
		last = s.eye.line()
	}
	return !strings.HasPrefix(line, "END ")
}

func permitsOnAServer(s *stage) {
	limit := getlock.Limit(2)
	one, two := s.mustTake(limit), s.mustTake(limit)
	check(two.FencingToken() > one.FencingToken(), "%v and %v", one, two)
	_, err := s.locks.TryLock(ctx, s.name, limit)
	check(errors.Is(err, getlock.ErrNotGranted), "%v", err)
	_, err = s.locks.TryLock(ctx, s.name)
	check(errors.Is(err, getlock.ErrNotGranted), "%v", err)
	_, err = s.locks.TryLock(ctx, s.name, getlock.Limit(3))
	check(isRefused(err, "LIMIT_DIFFERS"), "%v", err)
	s.mustRelease(one)
	row := s.eye.ask("LOCKS " + s.name)
	check(s.eye.line() == "END 1", "two rows")
	check(strings.Contains(row, " mode=permit ") && strings.Contains(row, " limit=2"), "%s", row)
	lease, err := s.leases.Acquire(ctx, s.name, 0, limit)
	check(err == nil, "%v", err)
	_, err = s.locks.TryLock(ctx, s.name, limit)
	check(errors.Is(err, getlock.ErrNotGranted), "%v", err)
	s.mustRelease(lease)
	s.mustRelease(two)
	s.isFree()
}

func waitersOnAServer(s *stage) {
	seen := make(chan getlock.Event, 10)
	guard := s.mustTake(getlock.OnWaiter(func(event getlock.Event) { seen <- event }))
	s.other.send("GET_LOCK " + s.name + " 20")
	event := within("the event", seen)
	check(event.Kind == "waiting" && event.Name == s.name && event.Waiters == 1, "%+v", event)
	check(event.Mode == "exclusive" && event.Session != guard.Session() && event.Session > 0, "%+v", event)
	s.mustRelease(guard)
	check(s.other.line() == "1", "not granted")
}

func watchedOnAServer(s *stage) {
	watch, err := s.locks.Watch(ctx, s.name)
	check(err == nil, "%v", err)
	first := s.mustTake()
	s.mustRelease(first)
	second := s.mustTake(getlock.Shared)
	s.kill(second.Session())
	for _, wanted := range []struct {
		guard             *getlock.Guard
		kind, mode, cause string
	}{
		{first, "taken", "exclusive", ""},
		{first, "freed", "exclusive", "release"},
		{second, "taken", "shared", ""},
		{second, "lost", "shared", "killed"},
	} {
		event := within(wanted.kind, watch.Events())
		check(event.Kind == wanted.kind && event.Mode == wanted.mode && event.Cause == wanted.cause, "%+v", event)
		check(event.Name == s.name && event.Session == wanted.guard.Session(), "%+v", event)
		check(event.FencingToken == wanted.guard.FencingToken(), "%+v", event)
		check(event.Held < time.Minute, "%+v", event)
	}
}
