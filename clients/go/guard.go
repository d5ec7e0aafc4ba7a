package getlock

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// hold is what a Guard and a Lease have in common: it ends in a moment that is put off again and again.
type hold struct {
	names  []string
	token  int64
	ctx    context.Context
	cancel func(cause error)
	hangUp func() // ends what is under way, when the lock is lost
	leave  func() // in place of hangUp, when it is lost since its time is over
	lost   chan struct{}
	done   chan struct{} // closed at the loss and at the release

	mu      sync.Mutex
	end     time.Duration // when it counts as lost
	over    time.Duration // when others can have it
	trouble error         // the last attempt to put that off, if it failed
	why     *Lost
	freed   bool
}

func (h *hold) begin(ctx context.Context, names []string, token int64, end time.Duration, hangUp func()) {
	h.ctx, h.cancel = withCause(ctx)
	h.names, h.token, h.end, h.hangUp, h.leave = names, token, end, hangUp, hangUp
	h.lost, h.done = make(chan struct{}), make(chan struct{})
}

// Name is the name of the lock; of several the first.
func (h *hold) Name() string { return h.names[0] }

// Names are the names of all locks that were taken together.
func (h *hold) Names() []string { return append([]string(nil), h.names...) }

// FencingToken is greater than that of each grant before. Send it along with what you write.
func (h *hold) FencingToken() int64 { return h.token }

// Context ends when the lock is lost or released, or when the context ends with which it was taken. From Go 1.20
// on, its context.Cause is the *Lost.
func (h *hold) Context() context.Context { return h.ctx }

// Lost is closed when the lock is lost, and never if it is released before.
func (h *hold) Lost() <-chan struct{} { return h.lost }

// Err is the *Lost if the lock is lost, else nil.
func (h *hold) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holds()
	if h.why == nil {
		return nil // a nil *Lost would be an error
	}
	return h.why
}

// Held tells whether the lock is held now: it looks at the clock itself, so it is exact.
func (h *hold) Held() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.holds()
}

// holds needs the mutex, as loses does.
func (h *hold) holds() bool {
	if clock() >= h.end {
		why := h.trouble
		if why == nil {
			why = errNoAnswer
		}
		h.loses(why, h.leave)
	}
	return h.why == nil && !h.freed
}

func (h *hold) loses(why error, part func()) {
	if h.why != nil || h.freed {
		return
	}
	h.why = newLost(h.names[0], why)
	close(h.lost)
	close(h.done)
	h.cancel(h.why)
	part()
}

func (h *hold) lose(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holds() // that the time is over was first, if it is
	h.loses(why, h.hangUp)
}

// putOff moves the end, unless it has come already: what is lost stays lost.
func (h *hold) putOff(end, over time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holds() {
		h.end, h.over, h.trouble = end, over, nil
	}
}

// free is the end of a hold that was not lost.
func (h *hold) free() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.why == nil && !h.freed {
		h.freed = true
		close(h.done)
		h.cancel(nil)
	}
}

// watch tells the loss in time. Before that it does what is due, and learns when it is to come again.
// Timers stand still while the machine sleeps, so it looks at the clock each second.
func (h *hold) watch(do func() (due time.Duration)) {
	for {
		due, next := do(), clock()+time.Second
		h.mu.Lock()
		end := h.end
		held := h.holds()
		h.mu.Unlock()
		if !held {
			return
		}
		for _, moment := range []time.Duration{due, end} {
			if moment < next {
				next = moment
			}
		}
		select {
		case <-time.After(next - clock()):
		case <-h.done:
			return
		}
	}
}

// Guard is a lock that is held, or several, by a connection of its own.
type Guard struct {
	hold
	session int64
	conn    *conn
	freeing string        // the line that releases it
	next    time.Duration // when to ask again
	every   time.Duration
	leaving atomic.Bool   // whether the release was sent, or is about to be
	parted  chan struct{} // closed when the server has answered the release
	once    sync.Once
}

// String shows the name, the session, the fencing token and whether the lock is held.
func (g *Guard) String() string {
	return fmt.Sprintf("Guard %s session=%d fencing_token=%d held=%v", listed(g.names), g.session, g.token, g.Held())
}

func newGuard(ctx context.Context, c *conn, r *request, got grant) *Guard {
	g := &Guard{session: got.session, conn: c, freeing: r.freeing(), next: c.promise.due(), every: c.promise.every}
	g.parted = make(chan struct{})
	g.begin(ctx, r.names, got.token, c.promise.end(), func() { c.Close() })
	// The server frees the lock when its connection ends, so that stays open, unused, while the work stops.
	g.over, g.leave = c.promise.over(), func() { go c.linger(g.over) }
	go g.listen()
	if g.every > 0 {
		go g.watch(g.ask)
	}
	return g
}

// Session is the number of its session, which the lists of the server show.
func (g *Guard) Session() int64 { return g.session }

// Release frees the lock. It returns nil if the lock was held until now, else the *Lost. Further calls return
// the same.
func (g *Guard) Release() error {
	g.once.Do(func() {
		if g.Held() {
			g.conn.SetDeadline(time.Now().Add(answerTime))
			g.leaving.Store(true)
			g.conn.ask(g.freeing) // listen finds out if this fails
			select {
			case <-g.parted:
			case <-g.lost:
			}
		}
		g.free()
		g.conn.Close()
	})
	return g.Err()
}

// ask sends a question if one is due. If that fails, listen finds it out, or the time runs out.
func (g *Guard) ask() time.Duration {
	if now := clock(); now >= g.next && g.Held() {
		g.mu.Lock()
		g.next = now + g.every
		g.mu.Unlock()
		g.conn.ask(keepalive)
	}
	return g.next
}

// listen reads promises, and then the answer to the release, or why the session has ended, or its end.
func (g *Guard) listen() {
	for {
		line, err := g.conn.line()
		if err == nil && isPromise(line) {
			var p promise
			if p, err = g.conn.promised(line); err == nil {
				g.putOff(p.end(), p.over())
				g.mu.Lock()
				g.every = p.every
				g.mu.Unlock()
				continue
			}
		}
		if err == nil && isCount(line) && g.leaving.Load() {
			close(g.parted)
			return
		}
		if err == nil {
			err = unexpected(line)
		}
		g.lose(err)
		g.conn.Close() // which may have stayed open
		return
	}
}

var start = time.Now()

// monotonic is the clock of those systems that have no better one.
func monotonic() time.Duration { return time.Since(start) }
