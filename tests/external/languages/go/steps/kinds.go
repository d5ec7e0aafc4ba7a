package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"time"

	"getlock"
)

// said checks what has come to a stub, but for questions about promises.
func (b *stub) said(wanted ...string) {
	lines := b.heard()
	check(reflect.DeepEqual(lines, wanted), "%q, not %q", lines, wanted)
}

func several(s *stage) {
	server := stub{promises: 100, says: map[string]string{"RELEASE_LOCKS": "2"}}.start()
	defer server.Close()
	locks := server.locks()
	locks.Anonymous = true
	guard, err := locks.Acquire(ctx, "a", getlock.Forever, getlock.Also{"it's b", "a"})
	check(err == nil && guard.Name() == "a" && guard.FencingToken() == 41, "%v", err)
	check(reflect.DeepEqual(guard.Names(), []string{"a", "it's b"}), "%q", guard.Names())
	s.mustRelease(guard)
	server.said("HELLO", "GET_LOCKS 'a' 'it''s b' -1", "FENCING_TOKEN 'a'", "RELEASE_LOCKS 'a' 'it''s b'")
	guard, err = locks.Acquire(ctx, "a", getlock.Forever, getlock.Also{"b"}, getlock.Shared)
	check(err == nil && guard.Release() == nil, "%v", err)
	server.said("HELLO", "GET_SHARED_LOCKS 'a' 'b' -1", "FENCING_TOKEN 'a'", "RELEASE_LOCKS 'a' 'b'")
	guard, err = locks.Acquire(ctx, "a", getlock.Forever, getlock.Also{"a"})
	check(err == nil && guard.Release() == nil, "%v", err)
	server.said("HELLO", "GET_LOCK 'a' -1", "FENCING_TOKEN 'a'", "RELEASE_LOCK 'a'")
	many := make(getlock.Also, 64)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	_, err = locks.Acquire(ctx, "a", 0, many)
	check(err != nil && strings.Contains(err.Error(), "at most 64"), "%v", err)
	server.said()

	busy := stub{promises: 100, says: map[string]string{"GET_LOCKS": `0 'it\'s b'`}}.start()
	defer busy.Close()
	_, err = busy.locks().Acquire(ctx, "a", 0, getlock.Also{"it's b"})
	check(errors.Is(err, getlock.ErrNotGranted) && getlock.InTheWay(err) == "it's b", "%v", err)
	odd := stub{promises: 100, says: map[string]string{"GET_LOCKS": "0"}}.start()
	defer odd.Close()
	_, err = odd.locks().Acquire(ctx, "a", 0, getlock.Also{"b"})
	check(err != nil && !errors.Is(err, getlock.ErrNotGranted), "a name is missing: %v", err)
}

func permits(s *stage) {
	server := stub{promises: 100}.start()
	defer server.Close()
	locks := server.locks()
	locks.Anonymous = true
	guard, err := locks.Acquire(ctx, "gpu", getlock.Forever, getlock.Limit(3))
	check(err == nil && guard.Held() && guard.Release() == nil, "%v", err)
	server.said("HELLO", "GET_PERMIT 'gpu' 3 -1", "FENCING_TOKEN 'gpu'", "RELEASE_LOCK 'gpu'")
	leases := getlock.Leases{URL: "http://" + server.Addr().String()}
	for _, limit := range []getlock.Limit{0, -1, 65536} {
		_, err = locks.Acquire(ctx, "gpu", 0, limit)
		check(err != nil && strings.Contains(err.Error(), "Limit"), "%v", err)
		_, err = leases.Acquire(ctx, "gpu", 0, limit)
		check(err != nil && strings.Contains(err.Error(), "Limit"), "%v", err)
	}
	_, err = locks.Acquire(ctx, "gpu", 0, getlock.Limit(3), getlock.Shared)
	check(err != nil && strings.Contains(err.Error(), "permit"), "%v", err)
	_, err = leases.Acquire(ctx, "gpu", 0, getlock.Limit(3), getlock.Also{"cpu"})
	check(err != nil && strings.Contains(err.Error(), "permit"), "%v", err)
	server.said()

	other := stub{promises: 100, says: map[string]string{"GET_PERMIT": "ERROR LIMIT_DIFFERS the limit is 2"}}.start()
	defer other.Close()
	_, err = other.locks().Acquire(ctx, "gpu", 0, getlock.Limit(3))
	check(isRefused(err, "LIMIT_DIFFERS"), "%v", err)
}

const waiting = `* WAITING name='it\'s \\ here' session=9 mode=exclusive waiters=1`

func toldOfWaiters(s *stage) {
	server := stub{promises: 100, says: map[string]string{
		"FENCING_TOKEN": "41\n" + waiting + "\n" + waiting,
		"RELEASE_LOCK":  waiting + "\n* NEW word=1\n1",
	}}.start()
	defer server.Close()
	seen := make(chan getlock.Event, 10)
	tell := getlock.OnWaiter(func(event getlock.Event) { seen <- event })
	guard, err := server.locks().Acquire(ctx, s.name, getlock.Forever, tell)
	check(err == nil, "%v", err)
	event := within("the first", seen)
	within("the second", seen)
	check(event.Kind == "waiting" && event.Name == `it's \ here` && event.Session == 9, "%+v", event)
	check(event.Mode == "exclusive" && event.Waiters == 1 && event.Fields["session"] == "9", "%+v", event)
	check(guard.Held(), "%v", guard.Err())
	s.mustRelease(guard)
	lines := strings.Join(server.heard(), "\n")
	check(strings.Contains(lines, "EVENTS ON\nGET_LOCK '"+s.name+"' -1"), "%s", lines)
	// Without the wish nothing is asked for, and what comes all the same is no reply.
	guard, err = server.locks().Acquire(ctx, s.name, 0)
	check(err == nil, "%v", err)
	time.Sleep(300 * time.Millisecond)
	check(guard.Held(), "%v", guard.Err())
	s.mustRelease(guard)
	lines = strings.Join(server.heard(), "\n")
	check(!strings.Contains(lines, "EVENTS"), "%s", lines)

	older := stub{promises: 100, says: map[string]string{"EVENTS": "ERROR UNKNOWN_COMMAND it is older"}}.start()
	defer older.Close()
	_, err = older.locks().Acquire(ctx, s.name, 0, tell)
	check(isRefused(err, "UNKNOWN_COMMAND"), "%v", err)
}

func watched(s *stage) {
	const taken = "* TAKEN name=app/a mode=permit session=9 fencing_token=1795168800000012 limit=3"
	const freed = "* FREED name=app/a mode=permit session=9 fencing_token=1795168800000012 held=1.500 cause=release"
	const lost = "* LOST name='app/two words' mode=shared session=9 fencing_token=1795168800000012 held=0.250 cause=killed"
	all := strings.Join([]string{"1", taken, "* NEW word=1", freed, lost, "* MISSED count=12"}, "\n")
	server := stub{promises: 100, says: map[string]string{"WATCH": all}}.start()
	defer server.Close()
	leaving, leave := context.WithCancel(ctx)
	watch, err := server.locks().Watch(leaving, "app/")
	check(err == nil, "%v", err)
	first, second := within("taken", watch.Events()), within("freed", watch.Events())
	third, fourth := within("lost", watch.Events()), within("missed", watch.Events())
	check(first.Kind == "taken" && first.Name == "app/a" && first.Session == 9 && first.Mode == "permit", "%+v", first)
	check(first.FencingToken == 1795168800000012 && first.Fields["limit"] == "3", "%+v", first)
	check(second.Kind == "freed" && second.Held == 1500*time.Millisecond && second.Cause == "release", "%+v", second)
	check(third.Kind == "lost" && third.Name == "app/two words" && third.Cause == "killed", "%+v", third)
	check(fourth.Kind == "missed" && fourth.Count == 12, "%+v", fourth)
	lines := server.heard()
	check(lines[len(lines)-1] == "WATCH 'app/'", "%q", lines)
	leave()
	until("the end of the events", func() bool { _, more := <-watch.Events(); return !more })
	check(errors.Is(watch.Err(), context.Canceled), "%v", watch.Err())
	within("the connection is closed", server.closed)

	// A connection that breaks is made again, and that is told.
	draining := stub{promises: 100, says: map[string]string{"WATCH": "1\n" + taken}}
	draining.after = func(word string, conn net.Conn) {
		if word == "WATCH" {
			time.Sleep(100 * time.Millisecond)
			conn.Write([]byte("ERROR SHUTDOWN the server is stopping\n"))
		}
	}
	drains := draining.start()
	defer drains.Close()
	leaving, leave = context.WithCancel(ctx)
	defer leave()
	watch, err = drains.locks().Watch(leaving, "")
	check(err == nil, "%v", err)
	for _, kind := range []string{"taken", "missed", "taken", "missed"} {
		event := within(kind, watch.Events())
		check(event.Kind == kind && event.Count == 0, "%+v", event)
	}

	older := stub{promises: 100, says: map[string]string{"WATCH": "ERROR UNKNOWN_COMMAND it is older"}}.start()
	defer older.Close()
	_, err = older.locks().Watch(ctx, "")
	check(isRefused(err, "UNKNOWN_COMMAND"), "%v", err)
}

func leadsAgain(s *stage) {
	terms := make(chan int64, 3)
	term, done, mayReturn := 0, errors.New("done"), make(chan bool, 1)
	election := later(func() error {
		return s.locks.Lead(ctx, s.name, func(ctx context.Context, guard *getlock.Guard) error {
			term++
			if terms <- guard.FencingToken(); term == 3 {
				return done
			}
			if term == 2 {
				within("it may return", mayReturn)
				return nil
			}
			<-ctx.Done()
			check(isLost(guard.Err(), "KILLED"), "%v", guard.Err())
			return ctx.Err()
		})
	})
	last := int64(0)
	for i := 0; i < 2; i++ {
		token := within("a term", terms)
		check(token > last, "%d behind %d", token, last)
		last = token
		other := make(chan *getlock.Guard, 1)
		go func() {
			guard, _ := s.locks.Acquire(ctx, s.name, getlock.Forever)
			other <- guard
		}()
		s.waiters(1)
		if i == 0 {
			s.kill(s.eye.ask("IS_USED_LOCK " + s.name))
		} else {
			mayReturn <- true
		}
		leader := within("the next", other)
		s.waiters(1)
		s.mustRelease(leader)
	}
	check(within("the last term", terms) > last, "an old token")
	check(within("the end", election) == done, "another end")
	s.becomesFree()
}

func endsToLead(s *stage) {
	var never neverRuns
	body := func(ctx context.Context, _ *getlock.Guard) error { return errBody }
	check(s.locks.Lead(ctx, s.name, body) == errBody, "another error")
	s.isFree()
	check(isRefused(s.locks.Lead(ctx, "", never.body), "BAD_NAME"), "a bad name leads")
	check(s.locks.Lead(ctx, s.name, nil) != nil, "nothing leads")
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "%v", err)
	nobody.Close()
	nowhere := getlock.Server{Addr: nobody.Addr().String(), Retry: 200 * time.Millisecond}
	err = nowhere.Lead(ctx, s.name, never.body)
	check(err != nil && !never.ran, "%v", err)
	leaving, leave := context.WithCancel(ctx)
	election := later(func() error {
		return s.locks.Lead(leaving, s.name, func(ctx context.Context, _ *getlock.Guard) error {
			<-ctx.Done()
			return ctx.Err()
		})
	})
	until("the leader", func() bool { return s.eye.ask("IS_FREE_LOCK "+s.name) == "0" })
	leave()
	err = within("the end", election)
	check(errors.Is(err, context.Canceled), "%v", err)
	s.isFree()
}
