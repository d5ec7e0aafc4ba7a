package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"getlock"
)

const patience = 20 * time.Second

// failure is what a step panics with.
type failure string

// check fails the step unless it is so.
func check(so bool, format string, args ...any) {
	if !so {
		panic(failure(fmt.Sprintf(format, args...)))
	}
}

// until waits for what becomes so by itself.
func until(what string, so func() bool) {
	for end := time.Now().Add(patience); !so(); time.Sleep(2 * time.Millisecond) {
		check(time.Now().Before(end), "in vain: %s", what)
	}
}

// within is what a channel says in time.
func within[T any](what string, c <-chan T) T {
	select {
	case said := <-c:
		return said
	case <-time.After(patience):
		panic(failure("in vain: " + what))
	}
}

// later runs what waits, and tells its error.
func later(run func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- run() }()
	return result
}

func isLost(err error, symbol string) bool {
	var lost *getlock.Lost
	return errors.As(err, &lost) && lost.Symbol == symbol
}

func isRefused(err error, symbol string) bool {
	var lost *getlock.Lost
	var refused *getlock.Refused
	return errors.As(err, &refused) && refused.Symbol == symbol && !errors.As(err, &lost)
}

// stage is what a step works with: the client, and two connections of plain sockets.
type stage struct {
	name               string // of the step, and of its lock
	linePort, httpPort string
	locks              getlock.Server
	leases             getlock.Leases
	other, eye         *plain
	opened             []net.Conn
}

var ctx = context.Background()

func (s *stage) open() {
	s.locks = getlock.Server{Addr: "127.0.0.1:" + s.linePort}
	s.leases = getlock.Leases{URL: "http://127.0.0.1:" + s.httpPort}
	s.other, s.eye = s.connect(), s.connect()
}

func (s *stage) connect() *plain {
	conn, err := net.Dial("tcp", "127.0.0.1:"+s.linePort)
	check(err == nil, "no server: %v", err)
	s.opened = append(s.opened, conn)
	return &plain{conn, bufio.NewScanner(conn)}
}

func (s *stage) close() {
	for _, conn := range s.opened {
		conn.Close()
	}
}

// othersHold makes another session the holder.
func (s *stage) othersHold() { s.other.mustSay("1", "GET_LOCK "+s.name+" 0") }

func (s *stage) othersLeave() { s.other.mustSay("1", "RELEASE_LOCK "+s.name) }

func (s *stage) becomesFree() {
	until("the lock is free", func() bool { return s.eye.ask("IS_FREE_LOCK "+s.name) == "1" })
}

func (s *stage) isFree() { s.eye.mustSay("1", "IS_FREE_LOCK "+s.name) }

// waiters are the sessions that wait, when there are so many.
func (s *stage) waiters(wanted int) []string {
	var ids []string
	until(fmt.Sprintf("%d wait", wanted), func() bool {
		ids = nil
		s.eye.send("WAITERS " + s.name)
		for line := s.eye.line(); !strings.HasPrefix(line, "END "); line = s.eye.line() {
			_, id, _ := strings.Cut(strings.Fields(line)[1], "=")
			ids = append(ids, id)
		}
		return len(ids) == wanted
	})
	return ids
}

func (s *stage) kill(session any) { s.eye.mustSay("1", fmt.Sprint("KILL ", session)) }

// mustTake is a guard of the step's lock.
func (s *stage) mustTake(opts ...getlock.Option) *getlock.Guard {
	guard, err := s.locks.Acquire(ctx, s.name, 0, opts...)
	check(err == nil, "not granted: %v", err)
	return guard
}

func (s *stage) mustRelease(held interface{ Release() error }) {
	err := held.Release()
	check(err == nil, "release: %v", err)
}

// plain is a connection by hand.
type plain struct {
	conn  net.Conn
	lines *bufio.Scanner
}

func (p *plain) send(line string) {
	_, err := p.conn.Write([]byte(line + "\n"))
	check(err == nil, "%s: %v", line, err)
}

func (p *plain) line() string {
	p.conn.SetReadDeadline(time.Now().Add(patience))
	check(p.lines.Scan(), "no line: %v", p.lines.Err())
	return p.lines.Text()
}

func (p *plain) ask(line string) string {
	p.send(line)
	return p.line()
}

func (p *plain) mustSay(wanted, line string) {
	said := p.ask(line)
	check(said == wanted, "%s: %s, not %s", line, said, wanted)
}
