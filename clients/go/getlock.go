// Package getlock takes locks of getlockd, by its line protocol. Copy this file: it needs Go 1.19 and
// nothing else.
//
//	locks := getlock.Server{Addr: "127.0.0.1:3305"}
//	guard, err := locks.Lock(ctx, "nightly", 10*time.Second)
//	if errors.Is(err, getlock.ErrNotGranted) {
//		return errors.New("somebody else has it")
//	} else if err != nil {
//		return err
//	}
//	defer guard.Release()
//	err = work(guard.Context(), guard.Token)
//
// Each guard has a connection of its own, and a goroutine that sees the end of it. The context of a
// guard is cancelled as soon as its lock is lost.
package getlock

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// AnswerTime is what the server may take for what does not wait.
const AnswerTime = 10 * time.Second

// ErrNotGranted says that others held the lock until the timeout was over.
var ErrNotGranted = errors.New("getlock: not granted in time")

// Refused is what the server answered as ERROR: Symbol is for programs, Text for people.
type Refused struct{ Symbol, Text string }

func (r *Refused) Error() string { return "getlock: " + r.Symbol + ": " + r.Text }

// Lost says that a lock is gone, and wraps why: a *Refused, or what broke the connection.
type Lost struct{ Why error }

func (l *Lost) Error() string { return "getlock: lost: " + l.Why.Error() }
func (l *Lost) Unwrap() error { return l.Why }

// Server is where the locks are. All but Addr may be left out.
type Server struct {
	Addr, User, Password string
	TLS                  *tls.Config
	Retry                time.Duration // for how long a server that is away is tried, 30 s if 0
}

// Lock takes a lock, waiting at most timeout, and for ever if that is negative. The context ends the wait.
func (s Server) Lock(ctx context.Context, name string, timeout time.Duration) (*Guard, error) {
	return s.take(ctx, "GET_LOCK", quoted(name), timeout)
}

// SharedLock is as Lock, beside others that share it.
func (s Server) SharedLock(ctx context.Context, name string, timeout time.Duration) (*Guard, error) {
	return s.take(ctx, "GET_SHARED_LOCK", quoted(name), timeout)
}

// Nothing is held yet, so a wait that breaks may connect and queue again.
func (s Server) take(ctx context.Context, verb, name string, timeout time.Duration) (*Guard, error) {
	start, retry := time.Now(), s.Retry
	if retry == 0 {
		retry = 30 * time.Second
	}
	awaySince := start
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		guard, reached, err := s.try(ctx, verb, name, timeout, start)
		if err == nil || errors.Is(err, ErrNotGranted) || ctx.Err() != nil {
			return guard, err
		}
		if reached {
			awaySince = time.Now()
		}
		if pause > 2*time.Second {
			pause = 2 * time.Second
		}
		jittered := pause/2 + time.Duration(rand.Int63n(int64(pause/2)))
		next := time.Now().Add(jittered)
		var refused *Refused
		final := errors.As(err, &refused) && refused.Symbol != "SHUTDOWN" && refused.Symbol != "LIMIT"
		late := timeout >= 0 && next.After(start.Add(timeout)) || next.After(awaySince.Add(retry))
		if final || late {
			return nil, err
		}
		select {
		case <-time.After(jittered):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// One connection, and whether the server has served it.
func (s Server) try(ctx context.Context, verb, name string, timeout time.Duration, start time.Time) (*Guard, bool, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, false, err
	}
	answered, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-ctx.Done():
			c.Close() // leaves the queue
		case <-answered:
		}
	}()
	served, token := false, int64(0)
	_, err = c.ask(s.hello(), AnswerTime)
	if err == nil {
		served = true
		token, err = c.take(verb, name, timeout, start)
	}
	close(answered)
	<-watched
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, served, err
	}
	return newGuard(ctx, c, name, token), served, nil
}

// Guard is a lock that is held.
type Guard struct {
	Token int64 // the fencing token

	conn   *conn
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	lost   chan struct{}
	freed  chan struct{}
	why    *Lost
	once   sync.Once
}

func newGuard(ctx context.Context, c *conn, name string, token int64) *Guard {
	ctx, cancel := context.WithCancel(ctx)
	g := &Guard{Token: token, conn: c, name: name, ctx: ctx, cancel: cancel}
	g.lost, g.freed = make(chan struct{}), make(chan struct{})
	c.SetDeadline(time.Time{})
	go g.watch()
	return g
}

// Context ends when the lock is lost or released, or its parent ends.
func (g *Guard) Context() context.Context { return g.ctx }

// Lost is closed when the lock is lost.
func (g *Guard) Lost() <-chan struct{} { return g.lost }

// Release frees the lock. It returns nil if the lock was held until now, else a *Lost.
func (g *Guard) Release() error {
	g.once.Do(func() {
		g.conn.SetDeadline(time.Now().Add(AnswerTime))
		fmt.Fprintf(g.conn, "RELEASE_LOCK %s\n", g.name)
		select {
		case <-g.freed:
		case <-g.lost:
		}
		g.cancel()
		g.conn.Close()
	})
	if g.why != nil {
		return g.why
	}
	return nil
}

// The next line is the answer to a release, or the reason of the end, or the end.
func (g *Guard) watch() {
	line, err := g.conn.line()
	if err == nil && line != "1" {
		err = errors.New(line)
	}
	if err != nil {
		g.why = &Lost{err}
		close(g.lost)
		g.cancel()
		return
	}
	close(g.freed)
}

type conn struct {
	net.Conn
	reader *bufio.Reader
}

func (s Server) dial(ctx context.Context) (*conn, error) {
	// A server that has vanished is found within a minute.
	dialer := &net.Dialer{Timeout: AnswerTime, KeepAlive: 5 * time.Second}
	var raw net.Conn
	var err error
	if s.TLS != nil {
		raw, err = (&tls.Dialer{NetDialer: dialer, Config: s.TLS}).DialContext(ctx, "tcp", s.Addr)
	} else {
		raw, err = dialer.DialContext(ctx, "tcp", s.Addr)
	}
	if err != nil {
		return nil, err
	}
	return &conn{raw, bufio.NewReader(raw)}, nil
}

func (s Server) hello() string {
	if s.User == "" {
		return "PING"
	}
	return "AUTH " + quoted(s.User) + " " + quoted(s.Password)
}

// Waits for the lock, and returns its token.
func (c *conn) take(verb, name string, timeout time.Duration, start time.Time) (int64, error) {
	seconds, patience := "-1", time.Duration(-1)
	if timeout >= 0 {
		left := time.Until(start.Add(timeout))
		if left < 0 {
			left = 0
		}
		seconds, patience = fmt.Sprintf("%.3f", left.Seconds()), left+AnswerTime
	}
	answer, err := c.ask(verb+" "+name+" "+seconds, patience)
	if err == nil && answer != "1" {
		return 0, ErrNotGranted
	}
	if err == nil {
		answer, err = c.ask("FENCING_TOKEN "+name, AnswerTime)
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(answer, 10, 64)
}

func (c *conn) ask(line string, patience time.Duration) (string, error) {
	var deadline time.Time
	if patience >= 0 {
		deadline = time.Now().Add(patience)
	}
	c.SetDeadline(deadline)
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		return "", err
	}
	return c.line()
}

func (c *conn) line() (string, error) {
	line, err := c.reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	words := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
	if words[0] == "ERROR" && len(words) == 3 {
		return "", &Refused{words[1], words[2]}
	}
	return strings.TrimSuffix(line, "\n"), nil
}

// One word, whatever is in it; no text can be a second line.
func quoted(text string) string {
	return "'" + strings.NewReplacer("\\", "\\\\", "'", "''", "\n", "\\n", "\r", "\\r", "\x00", "\\0").Replace(text) + "'"
}
