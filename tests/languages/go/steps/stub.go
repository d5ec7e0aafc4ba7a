package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"getlock"
)

// stub is a server that grants each lock and promises a second, as often as it is told to.
type stub struct {
	net.Listener
	promises   int           // how many questions of a connection it answers
	grantAfter time.Duration // how long GET_LOCK waits
	inTheWait  bool          // the first promise comes while GET_LOCK waits
	promised   chan time.Time
	closed     chan time.Time // when a connection has ended
}

func (b stub) start() *stub {
	var err error
	b.Listener, err = net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "%v", err)
	b.promised, b.closed = make(chan time.Time, 100), make(chan time.Time, 100)
	go func() {
		for {
			conn, err := b.Accept()
			if err != nil {
				return
			}
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
		switch strings.Fields(lines.Text())[0] {
		case "HELLO":
			say("HELLO version=0.1.0 protocol=1 session=7 max_line=1024")
		case "KEEPALIVE":
			if left--; left < 0 {
				continue
			}
			b.promised <- time.Now()
			if b.inTheWait && saved == 0 {
				saved++
				continue
			}
			say("KEEPALIVE left=1.000")
		case "GET_LOCK":
			time.Sleep(b.grantAfter / 2)
			if saved == 1 {
				saved++
				say("KEEPALIVE left=1.000")
			}
			time.Sleep(b.grantAfter / 2)
			say("1")
		case "FENCING_TOKEN":
			say("41")
		case "RELEASE_LOCK":
			say("1")
		}
	}
}

func (b *stub) locks() getlock.Server {
	return getlock.Server{Addr: b.Addr().String(), Retry: -1}
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
