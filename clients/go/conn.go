package getlock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

const keepalive = "KEEPALIVE"

// promiseLine is an answer to KEEPALIVE. Servers to come may have more fields behind the first.
var promiseLine = regexp.MustCompile(`^` + keepalive + ` left=(\d{1,9}(?:\.\d+)?)(?: [a-z_]+=.*)?$`)

const longestLine = 1 << 16 // no answer that a client asks for comes near to it

// conn is a connection for one guard.
type conn struct {
	net.Conn
	reader  *bufio.Reader
	asked   chan time.Duration // when each KEEPALIVE was sent that is not answered yet
	stop    time.Duration      // StopWithin
	cluster *cluster
	term    uint64        // of the leader that has answered; 0 without a cluster
	promise promise       // of the last answer
	tell    func(Event)   // hears of events; nil if nobody wants them
	part    []byte        // of a line whose end has not come yet
	closed  chan struct{} // by Close
	once    sync.Once
}

func newConn(stream net.Conn, stop time.Duration, behind *cluster) *conn {
	return &conn{Conn: stream, reader: bufio.NewReader(stream), asked: make(chan time.Duration, 16), stop: stop,
		cluster: behind, closed: make(chan struct{})}
}

// Close ends the connection, at once and for linger too.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// linger closes the connection in a moment to come, if nothing closes it before. Like watch it looks at the clock
// each second.
func (c *conn) linger(until time.Duration) {
	for left := until - clock(); left > 0; left = until - clock() {
		if left > time.Second {
			left = time.Second
		}
		if !pause(c.closed, left) {
			return
		}
	}
	c.Close()
}

// ask sends lines. If one of them is a KEEPALIVE, the moment is noted.
func (c *conn) ask(lines ...string) error {
	for _, line := range lines {
		if line == keepalive {
			select {
			case c.asked <- clock():
			default:
				return nil // there are many without an answer; one more would not help
			}
		}
	}
	_, err := c.Write([]byte(strings.Join(lines, "\n") + "\n"))
	return err
}

// reply is the next line that answers no KEEPALIVE. These are answered in front of a wait that began earlier.
func (c *conn) reply() (string, error) {
	for {
		line, err := c.line()
		if err != nil || !isPromise(line) {
			return line, err
		}
		if _, err = c.promised(line); err != nil {
			return "", err
		}
	}
}

// waited is the reply to a command that waits until then at most; never if that is zero. In a cluster it asks now and
// then whether the leader is still there: when its promise is over, and when it should have answered.
func (c *conn) waited(until time.Time) (string, error) {
	for {
		look := until
		if next := time.Now().Add(c.patienceOfCluster()); c.term != 0 && (until.IsZero() || next.Before(until)) {
			look = next
		}
		c.SetDeadline(look)
		line, err := c.line()
		isLate := errors.Is(err, os.ErrDeadlineExceeded) && !look.Equal(until) && len(c.asked) == 0
		switch {
		case isLate:
			c.SetDeadline(time.Now().Add(answerTime))
			err = c.ask(keepalive)
		case err == nil && isPromise(line):
			_, err = c.promised(line)
		default:
			return line, err
		}
		if err != nil {
			return "", err
		}
	}
}

func (c *conn) patienceOfCluster() time.Duration {
	if len(c.asked) > 0 {
		return c.promise.longest
	}
	return c.promise.until - clock()
}

// freshen sees that the last answer is so young that the lock is not nearly lost when its guard is given out.
func (c *conn) freshen() error {
	if now := clock(); now < c.promise.due() && now < c.promise.end() {
		return nil
	}
	patience := answerTime
	if c.promise.sent != 0 {
		patience = c.promise.longest - c.promise.margin
	}
	c.SetDeadline(time.Now().Add(patience))
	if err := c.ask(keepalive); err != nil {
		return err
	}
	for len(c.asked) > 0 {
		line, err := c.line()
		if err == nil {
			_, err = c.promised(line)
		}
		if err != nil {
			return err
		}
	}
	if clock() >= c.promise.end() {
		return errNoAnswer
	}
	return nil
}

func isPromise(line string) bool { return strings.HasPrefix(line, keepalive+" ") }

// confirmed reads a 1.
func (c *conn) confirmed() error {
	line, err := c.reply()
	if err == nil && line != "1" {
		err = unexpected(line)
	}
	return err
}

func (c *conn) session() (int64, error) {
	line, err := c.reply()
	if err != nil {
		return 0, err
	}
	session, err := strconv.ParseInt(field(line, "session"), 10, 64)
	if err != nil || session <= 0 {
		return 0, unexpected(line)
	}
	return session, nil
}

// number is the next reply. A server that has forgotten the grant says NULL in place of its number.
func (c *conn) number() (int64, error) {
	line, err := c.reply()
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseUint(line, 10, 63)
	if err != nil {
		return 0, unexpected(line)
	}
	return int64(number), nil
}

// line is the next line that is no event, as an error if it is one.
func (c *conn) line() (string, error) {
	line, err := c.text()
	for ; err == nil && isEvent(line); line, err = c.text() {
		if c.tell != nil {
			c.tell(eventIn(line))
		}
	}
	if err != nil {
		return "", err
	}
	if reason := strings.TrimPrefix(line, "ERROR "); reason != line {
		symbol, text, _ := strings.Cut(reason, " ")
		return "", &Refused{symbol, text}
	}
	return line, nil
}

// text is what comes up to the end of a line, without it.
func (c *conn) text() (string, error) {
	for {
		part, err := c.reader.ReadSlice('\n')
		c.part = append(c.part, part...)
		switch {
		case len(c.part) > longestLine:
			return "", errNoEnd
		case err == nil:
			text := string(c.part[:len(c.part)-1])
			c.part = nil
			return text, nil
		case err != bufio.ErrBufferFull:
			return "", err
		}
	}
}

// leaveWith closes the connection when the context ends, until the function is called that it returns.
func (c *conn) leaveWith(ctx context.Context) (stay func()) {
	stays, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-ctx.Done():
			c.Close()
		case <-stays:
		}
	}()
	return func() {
		close(stays)
		<-watched
	}
}

// field is what stands behind key= in a line, or nothing.
func field(line, key string) string {
	for _, word := range strings.Fields(line) {
		if value := strings.TrimPrefix(word, key+"="); value != word {
			return value
		}
	}
	return ""
}

func unexpected(line string) error {
	return fmt.Errorf("%.80q is not an answer of getlockd; check the address and the versions of both", line)
}
