package getlock

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	parkedTime  = 15 * time.Second // for a first answer: without a leader a cluster holds a connection for 10 s
	connectTime = 3 * time.Second  // until the next of several addresses is tried
	turnTime    = 5 * time.Second  // the same for one that is connected and silent: all nodes are held up alike
)

// The longest promise of a cluster is nine tenths of its --cluster-ttl. Others are shorter, as they have what is left
// to the leader.
const (
	questionsInAPromise = 9 // a tenth of --cluster-ttl apart
	marginOfAPromise    = 5 // its fifth is for the work to stop, if nobody says what that needs
)

// cluster is what all connections to the same addresses know together. Without a cluster behind them term is 0.
type cluster struct {
	addrs   []string
	mu      sync.Mutex
	good    string // the last that has served
	term    uint64
	longest time.Duration // the promise
}

// clusters are those that the process knows, by their addresses: a Server is a value, and is copied.
var clusters sync.Map

func clusterOf(kind string, addrs []string) *cluster {
	known, _ := clusters.LoadOrStore(kind+" "+strings.Join(addrs, ","), &cluster{addrs: addrs, good: addrs[0]})
	return known.(*cluster)
}

// round has all addresses in the order of the tries: the last good one is the first.
func (c *cluster) round() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := 0
	for i, addr := range c.addrs {
		if addr == c.good {
			at = i
		}
	}
	return append(append([]string(nil), c.addrs[at:]...), c.addrs[:at]...)
}

func (c *cluster) served(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.good = addr
}

// after is the address behind addr, round and round.
func (c *cluster) after(addr string) string {
	for i, one := range c.addrs {
		if one == addr {
			return c.addrs[(i+1)%len(c.addrs)]
		}
	}
	return c.addrs[0]
}

func (c *cluster) isSeveral() bool { return len(c.addrs) > 1 }

func (c *cluster) firstAnswerTime() time.Duration {
	if c.isSeveral() {
		return turnTime
	}
	return parkedTime
}

// dialer does not wait long for one of several.
func (c *cluster) dialer() *net.Dialer {
	if c.isSeveral() {
		return &net.Dialer{Timeout: connectTime, KeepAlive: dialer.KeepAlive}
	}
	return &dialer
}

// takes tells whether an answer of that term counts, and the longest promise so far. An answer of a lower term than
// was seen is of a leader that no longer leads.
func (c *cluster) takes(term uint64, left time.Duration) (longest time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if term < c.term {
		return 0, false
	}
	c.term = term
	if left > c.longest {
		c.longest = left
	}
	return c.longest, true
}

// promise is the answer to a KEEPALIVE: nobody else is granted what the session holds before until. No sent is no
// answer yet. A server alone that promises nothing is isEndless.
type promise struct {
	sent, until time.Duration
	longest     time.Duration // of the promises; that of a server alone is always the same
	every       time.Duration // between two questions
	margin      time.Duration // for the work to stop
	isEndless   bool
}

// end is when a lock counts as lost: the work has to stop before the promise is over.
func (p promise) end() time.Duration {
	if p.isEndless {
		return never
	}
	return p.until - p.margin
}

// over is when others can be granted the lock.
func (p promise) over() time.Duration {
	if p.isEndless {
		return never
	}
	return p.until
}

// due is when the next question is to be sent.
func (p promise) due() time.Duration {
	switch {
	case p.sent == 0:
		return 0
	case p.isEndless:
		return never
	}
	return p.sent + p.every
}

// promised reads the answer to the first question that has none.
func (c *conn) promised(line string) (promise, error) {
	match := promiseLine.FindStringSubmatch(line)
	if match == nil {
		return promise{}, unexpected(line)
	}
	seconds, err := strconv.ParseFloat(match[1], 64)
	if err != nil {
		return promise{}, unexpected(line)
	}
	left := time.Duration(seconds * float64(time.Second))
	p := promise{longest: left, every: left / 5, margin: left / 5 * 2, isEndless: left == 0}
	if term := field(line, "term"); term != "" {
		p, err = c.promiseOfCluster(line, term, left)
	} else if most := left / 5 * 4; left > 0 && c.stop >= most {
		err = fmt.Errorf("%w: it is %v, and the server promises %v at a time; use less than %v, "+
			"or start the server with a longer --keepalive", errStopWithin, c.stop, left, most)
	}
	if err != nil {
		return promise{}, err
	}
	if c.stop != 0 {
		p.margin = c.stop
	}
	select {
	case p.sent = <-c.asked:
	default:
		return promise{}, unexpected(line)
	}
	// An earlier promise still holds, also if that of a cluster has become shorter.
	if p.until = p.sent + left; p.until < c.promise.until {
		p.until = c.promise.until
	}
	c.promise = p
	return p, nil
}

// promiseOfCluster looks at the term. A connection is of one term.
func (c *conn) promiseOfCluster(line, text string, left time.Duration) (promise, error) {
	term, err := strconv.ParseUint(text, 10, 63)
	if err != nil || term == 0 {
		return promise{}, unexpected(line)
	}
	longest, ok := c.cluster.takes(term, left)
	if !ok || (c.term != 0 && c.term != term) {
		return promise{}, errOutdated
	}
	c.term = term
	if most := longest / 10 * 3; most > 0 && c.stop > most {
		return promise{}, fmt.Errorf("%w: it is %v; in this cluster use at most %v, or a greater --cluster-ttl or "+
			"--takeover-delay of the servers, of which a fifth is always short enough", errStopWithin, c.stop, most)
	}
	return promise{longest: longest, every: longest / questionsInAPromise, margin: longest / marginOfAPromise}, nil
}

// parts are what stands between commas.
func parts(list string) []string {
	all := strings.Split(list, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

var errOutdated = errors.New("the server that answered no longer leads its cluster")
