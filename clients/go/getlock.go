package getlock

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"strings"
	"time"
)

// Forever is a timeout that is never over. So is each other that is negative or longer than a hundred years.
const Forever time.Duration = -1

const (
	century    = 100 * 365 * 24 * time.Hour
	never      = time.Duration(1<<63 - 1)
	answerTime = 10 * time.Second // of a command that does not wait
)

// Server is a server, or a cluster of them. Each of its fields is optional.
type Server struct {
	// Addr is host:port, or a host alone for port 3305; 127.0.0.1:3305 by default. The nodes of a cluster stand with
	// commas between them: "a:3305,b:3305". If one does not answer or cannot serve, the next one is tried. The last
	// good one is the first.
	Addr     string
	User     string // none by default
	Password string
	TLS      *tls.Config // no TLS by default

	// Retry is for how long a server that is away is tried again, while nothing is held; 30 s by default. A
	// nanosecond is no time at all.
	Retry time.Duration

	// Name is what the lists of the server call this client: user@host[pid] program by default. Note is a line for
	// people that they show beside it; none by default. Each has at most 256 characters. With Anonymous the client
	// does not introduce itself.
	Name, Note string
	Anonymous  bool

	// StopWithin is what the work needs to stop. The loss of a lock is reported so long before another can have
	// it. By default it is two fifths of the time that the server promises. In a cluster it is a fifth of the longest
	// promise, and at most three tenths of it.
	StopWithin time.Duration
}

// Acquire takes a lock, waiting for it at most timeout. The error is ErrNotGranted if others had it all that
// time, a *Refused if the server refused, or that of the context if it ended the wait.
//
// The context of the guard is derived from ctx. When ctx ends the lock is held all the same, until Release.
func (s Server) Acquire(ctx context.Context, name string, timeout time.Duration, opts ...Option) (*Guard, error) {
	w, err := s.wait(name, timeout, opts)
	if err != nil {
		return nil, err
	}
	return w.take(ctx)
}

// TryLock is as Acquire, but does not wait: no guard and ErrNotGranted if others have the lock.
func (s Server) TryLock(ctx context.Context, name string, opts ...Option) (*Guard, error) {
	return s.Acquire(ctx, name, 0, opts...)
}

// Lock runs body while it holds a lock, and returns what body returns. Body does not run without the lock; the
// error is then that of Acquire. The lock is free at the end, of a panic too.
//
// When the lock is lost the context of body is cancelled, and Lock returns the *Lost. If body has returned an
// error too, Lock returns both: errors.Is and errors.As find what is in either, in that of body first.
func (s Server) Lock(ctx context.Context, name string, timeout time.Duration,
	body func(ctx context.Context, guard *Guard) error, opts ...Option) error {
	if body == nil {
		return errNoBody
	}
	guard, err := s.Acquire(ctx, name, timeout, opts...)
	if err != nil {
		return err
	}
	return within(guard, body)
}

// within runs body, and frees the lock however body ends.
func within[H interface {
	Context() context.Context
	Release() error
}](held H, body func(context.Context, H) error) (err error) {
	defer func() {
		lost := held.Release()
		switch {
		case lost == nil || errors.Is(err, lost):
		case err == nil:
			err = lost
		default:
			err = &failedAndLost{err, lost}
		}
	}()
	return body(held.Context(), held)
}

func (s Server) check() error {
	if s.Retry < 0 {
		return errRetry
	}
	return check(s.StopWithin, s.identity())
}

// check refuses what would only be found out after something was sent.
func check(stopWithin time.Duration, who identity) error {
	if stopWithin < 0 {
		return fmt.Errorf("getlock: StopWithin is %v; use 0 for the default, or a time", stopWithin)
	}
	return who.check()
}

func (s Server) identity() identity { return identity{s.Name, s.Note, s.Anonymous} }

func whole(timeout time.Duration) time.Duration {
	if timeout < 0 || timeout > century {
		return Forever
	}
	return timeout
}

// wait is one call of Acquire, over as many connections as it takes.
type wait struct {
	Server
	request
	timeout  time.Duration
	start    time.Time
	outlasts bool // a server that has answered is tried forever
}

func (s Server) wait(name string, timeout time.Duration, opts []Option) (*wait, error) {
	w := &wait{Server: s, request: request{names: []string{name}}, timeout: whole(timeout), start: time.Now()}
	for _, opt := range opts {
		opt.want(&w.request)
	}
	if err := w.request.check(); err != nil {
		return nil, err
	}
	return w, s.check()
}

func (w *wait) take(ctx context.Context) (*Guard, error) {
	var got grant
	c, err := reach(ctx, w, func(c *conn) (served bool, err error) {
		got, err = w.queue(c)
		return got.session != 0, err
	})
	if err != nil {
		return nil, err
	}
	return newGuard(ctx, c, &w.request, got), nil
}

// reach is a connection that begin has begun to use. Nothing is held yet, so one that breaks is made again.
func reach(ctx context.Context, w *wait, begin func(*conn) (served bool, err error)) (*conn, error) {
	awaySince, retry := w.start, w.Retry
	if retry == 0 {
		retry = 30 * time.Second
	}
	all := w.cluster()
	round := all.round()
	for pause := 50 * time.Millisecond; ; {
		c, served, err := w.try(ctx, round[0], begin)
		if served {
			all.served(round[0])
		}
		if err == nil || final(err) {
			return c, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if served {
			awaySince = time.Now()
		}
		if served && w.outlasts {
			retry = century
		}
		if round = round[1:]; len(round) > 0 {
			continue // each address has its turn before a pause
		}
		round = all.round()
		jittered := pause/2 + time.Duration(rand.Int63n(int64(pause/2)))
		if pause *= 2; pause > 2*time.Second {
			pause = 2 * time.Second
		}
		next := time.Now().Add(jittered)
		if w.timeout >= 0 && next.After(w.start.Add(w.timeout)) || next.After(awaySince.Add(retry)) {
			return nil, w.away(err)
		}
		select {
		case <-time.After(jittered):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// final tells what another connection would not change.
func final(err error) bool {
	var refused *Refused
	if errors.As(err, &refused) {
		return refused.Symbol != "SHUTDOWN" && refused.Symbol != "LIMIT" && refused.Symbol != "UNAVAILABLE"
	}
	return errors.Is(err, ErrNotGranted) || errors.Is(err, errStopWithin)
}

func (w *wait) away(err error) error {
	var refused *Refused
	if errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("getlock: %s does not serve (%w); check that getlockd runs there and can be reached", strings.Join(w.addrs(), ", "), err)
}

// try is one connection. It tells whether the server has served it.
func (w *wait) try(ctx context.Context, addr string, begin func(*conn) (bool, error)) (*conn, bool, error) {
	c, err := w.dial(ctx, addr)
	if err != nil {
		return nil, false, err
	}
	stay := c.leaveWith(ctx)
	served, err := begin(c)
	stay()
	if ctx.Err() != nil {
		err = ctx.Err() // a lock that came all the same is free again with its connection
	}
	if err != nil {
		c.Close()
		return nil, served, err
	}
	return c, true, nil
}

// greeting says who this is, and asks for the number of the session.
func (s Server) greeting() (lines []string) {
	if s.User != "" {
		lines = append(lines, "AUTH "+quoted(s.User)+" "+quoted(s.Password))
	}
	if introduction := s.identity().line(); introduction != "" {
		lines = append(lines, introduction)
	}
	return append(lines, "HELLO")
}

// greeted reads the answers to greeting.
func (s Server) greeted(c *conn) (session int64, err error) {
	if s.User != "" {
		_, err = c.reply()
	}
	if err == nil && !s.Anonymous {
		if err = c.confirmed(); isOlder(err) {
			err = nil
		}
	}
	if err != nil {
		return 0, err
	}
	return c.session()
}

// grant is what the server told of a lock that it granted.
type grant struct{ session, token int64 }

// queue waits for the lock. All questions go out at once, so a free lock takes one round trip.
func (w *wait) queue(c *conn) (got grant, err error) {
	lines := append(w.greeting(), keepalive)
	if w.onWaiter != nil {
		lines = append(lines, "EVENTS ON")
		c.tell = waitersTo(w.onWaiter)
	}
	lines = append(lines, w.taking()+" "+w.seconds(), "FENCING_TOKEN "+quoted(w.names[0]))
	c.SetDeadline(time.Now().Add(c.cluster.firstAnswerTime()))
	if err = c.ask(lines...); err == nil {
		got.session, err = w.greeted(c)
	}
	if err == nil && w.onWaiter != nil {
		err = c.confirmed()
	}
	if err != nil {
		return got, err
	}
	answer, err := c.waited(w.patience())
	if err == nil {
		err = w.granted(answer)
	}
	if err == nil {
		got.token, err = c.number()
	}
	if err == nil {
		err = c.freshen()
	}
	c.SetDeadline(time.Time{})
	return got, err
}

func (w *wait) left() time.Duration {
	if left := time.Until(w.start.Add(w.timeout)); left > 0 {
		return left
	}
	return 0
}

func (w *wait) seconds() string {
	if w.timeout < 0 {
		return "-1"
	}
	return fmt.Sprintf("%.9f", w.left().Seconds())
}

// patience is when an answer to the wait is overdue.
func (w *wait) patience() time.Time {
	if w.timeout < 0 {
		return time.Time{}
	}
	return time.Now().Add(w.left() + answerTime)
}

// addrs are the addresses, with their ports.
func (s Server) addrs() []string {
	addrs := parts(s.Addr)
	for i, addr := range addrs {
		if addr == "" {
			addr = "127.0.0.1"
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			addr = net.JoinHostPort(strings.Trim(addr, "[]"), "3305")
		}
		addrs[i] = addr
	}
	return addrs
}

func (s Server) cluster() *cluster { return clusterOf("line", s.addrs()) }

func (s Server) dial(ctx context.Context, addr string) (*conn, error) {
	stream, err := s.cluster().dialer().DialContext(ctx, "tcp", addr)
	if err == nil && s.TLS != nil {
		stream, err = s.secured(ctx, stream, addr)
	}
	if err != nil {
		return nil, err
	}
	return newConn(stream, s.StopWithin, s.cluster()), nil
}

// secured is the stream with TLS. Without a leader a cluster does not shake hands.
func (s Server) secured(ctx context.Context, stream net.Conn, addr string) (net.Conn, error) {
	config := s.TLS
	if config.ServerName == "" && !config.InsecureSkipVerify {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cluster().firstAnswerTime())
	defer cancel()
	secure := tls.Client(stream, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		stream.Close()
		return nil, err
	}
	return secure, nil
}

// A server that has vanished is found within a minute, also by those who wait.
var dialer = net.Dialer{Timeout: answerTime, KeepAlive: 5 * time.Second}

// quoted makes one word of a text, whatever is in it: no text can be a second line.
func quoted(text string) string { return "'" + quoting.Replace(text) + "'" }

var quoting = strings.NewReplacer("\\", "\\\\", "'", "''", "\n", "\\n", "\r", "\\r", "\x00", "\\0")
