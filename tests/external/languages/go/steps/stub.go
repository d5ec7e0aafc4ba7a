package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"getlock"
)

// stub is a server that grants each lock and promises a second, as often as it is told to.
type stub struct {
	net.Listener
	promises   int           // how many questions of a connection it answers
	lefts      []string      // what it answers them; the last one for all further ones; a second by default
	silent     time.Duration // before HELLO is answered
	grantAfter time.Duration // how long GET_LOCK waits
	inTheWait  bool          // the first promise comes while GET_LOCK waits
	says       map[string]string
	after      func(word string, conn net.Conn) // what it does behind an answer
	lines      chan string                      // what came, but for questions
	then       func(net.Conn)                   // what it does in place of further promises
	came       *int32                           // connections
	promised   chan time.Time
	closed     chan time.Time // when a connection has ended
}

func (b stub) start() *stub {
	var err error
	b.Listener, err = net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "%v", err)
	if b.lefts == nil {
		b.lefts = []string{"left=1.000 spare=7"}
	}
	b.came, b.lines = new(int32), make(chan string, 1000)
	b.promised, b.closed = make(chan time.Time, 100), make(chan time.Time, 100)
	go func() {
		for {
			conn, err := b.Accept()
			if err != nil {
				return
			}
			atomic.AddInt32(b.came, 1)
			go b.serve(conn)
		}
	}()
	return &b
}

func (b *stub) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		b.closed <- time.Now()
	}()
	left, saved := b.promises, 0
	say := func(line string) { conn.Write([]byte(line + "\n")) }
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		word := strings.Fields(lines.Text())[0]
		if word != "KEEPALIVE" {
			b.lines <- lines.Text()
		}
		if odd, ok := b.says[word]; ok {
			say(odd)
			if b.after != nil {
				b.after(word, conn)
			}
			continue
		}
		switch word {
		case "HELLO":
			time.Sleep(b.silent)
			say("HELLO version=0.1.0 protocol=1 session=7 max_line=1024")
		case "KEEPALIVE":
			if left--; left < 0 {
				if b.then != nil {
					b.then(conn)
				}
				continue
			}
			b.promised <- time.Now()
			if b.inTheWait && saved == 0 {
				saved++
				continue
			}
			at := b.promises - left - 1
			if at >= len(b.lefts) {
				at = len(b.lefts) - 1
			}
			say("KEEPALIVE " + b.lefts[at])
		case "GET_LOCK", "GET_LOCKS", "GET_SHARED_LOCKS", "GET_PERMIT":
			time.Sleep(b.grantAfter / 2)
			if saved == 1 {
				saved++
				say("KEEPALIVE " + b.lefts[0])
			}
			time.Sleep(b.grantAfter / 2)
			say("1")
		case "FENCING_TOKEN":
			say("41")
		case "RELEASE_LOCK", "RELEASE_LOCKS", "INTRODUCE", "EVENTS", "WATCH":
			say("1")
		}
	}
}

// heard is what has come since it was asked last, but for questions.
func (b *stub) heard() (lines []string) {
	for {
		select {
		case line := <-b.lines:
			lines = append(lines, line)
		default:
			return lines
		}
	}
}

func (b *stub) locks() getlock.Server {
	return getlock.Server{Addr: b.Addr().String(), Retry: time.Nanosecond}
}

// oddAnswers are what no getlockd says to one who wants a lock. It is tried again, and nothing is granted.
func oddAnswers(s *stage) {
	var never neverRuns
	odd := []map[string]string{{"FENCING_TOKEN": "NULL"}, {"GET_LOCK": "NULL"}, {"GET_LOCK": "no"}}
	for _, left := range []string{"-5", "", "nan", "1e3", "5 more", strings.Repeat("9", 400)} {
		odd = append(odd, map[string]string{"KEEPALIVE": "KEEPALIVE left=" + left})
	}
	for _, says := range odd {
		server := stub{promises: 1, says: says}.start()
		locks := getlock.Server{Addr: server.Addr().String()}
		err := locks.Lock(ctx, s.name, 300*time.Millisecond, never.body)
		var refused *getlock.Refused
		check(err != nil && !errors.Is(err, getlock.ErrNotGranted) && !errors.As(err, &refused), "%v: %v", says, err)
		check(!never.ran && atomic.LoadInt32(server.came) > 1, "%v: it came %d times", says, *server.came)
		server.Close()
	}
	server := stub{promises: 1, says: map[string]string{"GET_LOCK": "ERROR KILLED"}}.start()
	defer server.Close()
	err := server.locks().Lock(ctx, s.name, 0, never.body)
	check(isRefused(err, "KILLED") && !never.ran, "%v", err)
}

// oddWords are what no getlockd says to one who holds a lock: it is lost before its time is over.
func oddWords(s *stage) {
	flood := func(conn net.Conn) {
		for chunk, err := make([]byte, 1<<20), error(nil); err == nil; {
			_, err = conn.Write(chunk)
		}
	}
	one := func(conn net.Conn) { conn.Write([]byte("1\n")) }
	for _, then := range []func(net.Conn){one, flood} {
		server := stub{promises: 2, then: then}.start()
		guard, err := server.locks().Acquire(ctx, s.name, 0)
		check(err == nil, "%v", err)
		within("a question", server.promised)
		second := within("another one", server.promised)
		within("the loss is told", guard.Lost())
		took := time.Since(second)
		check(took < 500*time.Millisecond, "told %v after the second question: %v", took, guard.Err())
		check(!guard.Held() && isLost(guard.Release(), ""), "%v", guard.Err())
		within("the connection is closed", server.closed)
		server.Close()
	}
}

// drained is the end of a release when the server stops: both lines come in one piece.
func drained(s *stage) {
	ends := map[string]string{"RELEASE_LOCK": "1\nERROR SHUTDOWN the server is stopping"}
	server := stub{promises: 100, says: ends}.start()
	defer server.Close()
	for i := 0; i < 100; i++ {
		guard, err := server.locks().Acquire(ctx, s.name, 0)
		check(err == nil, "%v", err)
		s.mustRelease(guard)
	}
}

// third waits until the third question has come.
func (b *stub) third() (arrived time.Time) {
	for i := 0; i < 3; i++ {
		arrived = within("a question", b.promised)
	}
	return arrived
}

func toldInTime(s *stage) {
	server := stub{promises: 3}.start()
	defer server.Close()
	guard, err := server.locks().Acquire(ctx, s.name, 0)
	check(err == nil, "%v", err)
	third := server.third()
	within("the loss is told", guard.Lost())
	took := time.Since(third)
	check(took < time.Second && took > 200*time.Millisecond, "told %v after the third question", took)
	check(isLost(guard.Err(), "") && isLost(guard.Release(), ""), "%v", guard.Err())
	within("the connection is closed", server.closed)

	// Work that needs longer to stop than there is time between two questions would be lost at once.
	server = stub{promises: 100}.start()
	defer server.Close()
	locks := server.locks()
	locks.StopWithin = 800 * time.Millisecond
	_, err = locks.Acquire(ctx, s.name, 0)
	check(err != nil && strings.Contains(err.Error(), "StopWithin"), "%v", err)
}

func heldInTime(s *stage) {
	server := stub{promises: 3}.start()
	defer server.Close()
	guard, err := server.locks().Acquire(ctx, s.name, 0)
	check(err == nil, "%v", err)
	third := server.third()
	check(guard.Held(), "it is lost too early: %v", guard.Err())
	time.Sleep(time.Until(third.Add(time.Second)))
	check(!guard.Held(), "it is held after its time")
}

func openToTheEnd(s *stage) {
	// after is when the connection ends, from the third question on. The lost body returns what rest does.
	after := func(rest func(*stub) time.Time) time.Duration {
		server := stub{promises: 3}.start()
		defer server.Close()
		var third, closed time.Time
		err := server.locks().Lock(ctx, s.name, 0, func(_ context.Context, guard *getlock.Guard) error {
			third = server.third()
			within("the loss is told", guard.Lost())
			closed = rest(server)
			return nil
		})
		check(isLost(err, ""), "%v", err)
		if closed.IsZero() {
			closed = within("the connection is closed", server.closed)
		}
		return closed.Sub(third)
	}
	late := after(func(server *stub) time.Time { return within("the connection is closed", server.closed) })
	check(late > 900*time.Millisecond, "closed %v after the third question, and the body goes on", late)
	soon := after(func(*stub) time.Time { return time.Time{} })
	check(soon < 900*time.Millisecond, "closed %v after the third question, and the body has ended before", soon)
}

func lateGrant(s *stage) {
	server := stub{promises: 1, grantAfter: 1200 * time.Millisecond}.start()
	defer server.Close()
	guard, err := server.locks().Acquire(ctx, s.name, patience)
	check(guard == nil && err != nil && !errors.Is(err, getlock.ErrNotGranted), "%v", err)
	within("the connection is closed", server.closed)
	check(len(server.closed) == 0, "it came again")

	// The same with an answer.
	server = stub{promises: 100, grantAfter: 1200 * time.Millisecond}.start()
	defer server.Close()
	guard, err = server.locks().Acquire(ctx, s.name, patience)
	check(err == nil && guard.Held(), "%v", err)
	s.mustRelease(guard)
}

func questionsInAWait(s *stage) {
	server := stub{promises: 100, grantAfter: 100 * time.Millisecond, inTheWait: true}.start()
	defer server.Close()
	guard, err := server.locks().Acquire(ctx, s.name, patience)
	check(err == nil && guard.FencingToken() == 41 && guard.Session() == 7, "%v", err)
	s.mustRelease(guard)
}
