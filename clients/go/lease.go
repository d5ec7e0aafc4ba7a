package getlock

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Leases is a server over HTTP, or a cluster of them, for programs that cannot keep a connection open. Each of its fields is optional.
// A Server reports a loss sooner, and frees the locks of a program that has died at once.
type Leases struct {
	// URL is http://127.0.0.1:3308 by default. Those of the nodes of a cluster stand with commas between them.
	URL      string
	User     string // none by default
	Password string
	Token    string      // of a user that logs in by a token; none by default
	TLS      *tls.Config // for https; that of Go by default

	// Retry is for how long a server that is away is tried again, while nothing is held; 30 s by default. A
	// nanosecond is no time at all. A request whose answer was lost is repeated with the same id: it gets the lease
	// that was granted, or its place in the queue.
	Retry time.Duration

	// Name, Note and Anonymous are those of Server. The options Client and Note are in place of them.
	Name, Note string
	Anonymous  bool

	// StopWithin is what the work needs to stop. The loss of a lock is reported so long before another can have
	// it. By default it is a fifth of the lease's TTL.
	StopWithin time.Duration
}

func (l Leases) identity() identity { return identity{l.Name, l.Note, l.Anonymous} }

// LeaseOption is how a lease is taken: a TTL, a Mode, a Limit, Also, a Client or a Note.
type LeaseOption interface{ shape(*terms) }

// TTL is for how long a lease runs from each heartbeat on; 45 s by default. Heartbeats go out by themselves.
type TTL time.Duration

// Client is what the lists call the holder.
type Client string

// Note is what the lists show beside the holder.
type Note string

// terms are the body of an acquire. Times are in milliseconds.
type terms struct {
	request
	ResourceName  string   `json:"resourceName,omitempty"`
	ResourceNames []string `json:"resourceNames,omitempty"`
	Mode          string   `json:"mode"`
	Limit         int      `json:"limit,omitempty"`
	WaitMs        int64    `json:"waitMs"`
	TTLMs         int64    `json:"ttlMs"`
	ClientID      string   `json:"clientId,omitempty"`
	Note          string   `json:"note,omitempty"`
	RequestID     string   `json:"requestId"`
}

func (t TTL) shape(terms *terms)    { terms.TTLMs = time.Duration(t).Milliseconds() }
func (c Client) shape(terms *terms) { terms.ClientID = string(c) }
func (n Note) shape(terms *terms)   { terms.Note = string(n) }
func (m Mode) shape(terms *terms)   { m.want(&terms.request) }
func (l Limit) shape(terms *terms)  { l.want(&terms.request) }
func (a Also) shape(terms *terms)   { a.want(&terms.request) }

// settle puts the request into the fields that are sent.
func (t *terms) settle() error {
	err := t.request.check()
	switch t.Mode, t.Limit = "exclusive", t.limit; {
	case t.isPermit:
		t.Mode = "permit"
	case t.shared:
		t.Mode = "shared"
	}
	if len(t.names) > 1 {
		t.ResourceNames = t.names
	} else {
		t.ResourceName = t.names[0]
	}
	return err
}

// Acquire takes a lease, waiting for it at most timeout. The errors are those of Server.Acquire.
func (l Leases) Acquire(ctx context.Context, name string, timeout time.Duration, opts ...LeaseOption) (*Lease, error) {
	t := terms{request: request{names: []string{name}}, TTLMs: 45_000, ClientID: l.identity().shown(), Note: l.Note}
	for _, opt := range opts {
		opt.shape(&t)
	}
	if err := t.settle(); err != nil {
		return nil, err
	}
	ttl := time.Duration(t.TTLMs) * time.Millisecond
	if err := l.check(t, ttl); err != nil {
		return nil, err
	}
	id, err := newRequestID()
	if err != nil {
		return nil, err
	}
	t.RequestID = id
	answer, base, sent, err := l.ask(ctx, t, whole(timeout))
	var refused *Refused
	if errors.As(err, &refused) && refused.Symbol == "Busy" {
		inTheWay := answer.InTheWay
		if inTheWay == "" {
			inTheWay = name
		}
		err = &notGranted{t.names, inTheWay}
	}
	if err != nil {
		return nil, err
	}
	return l.begin(ctx, t, answer, base, sent)
}

// TryLock is as Acquire, but does not wait: no lease and ErrNotGranted if others have the lock.
func (l Leases) TryLock(ctx context.Context, name string, opts ...LeaseOption) (*Lease, error) {
	return l.Acquire(ctx, name, 0, opts...)
}

// Lock runs body while it holds a lease, as Server.Lock does.
func (l Leases) Lock(ctx context.Context, name string, timeout time.Duration,
	body func(ctx context.Context, lease *Lease) error, opts ...LeaseOption) error {
	if body == nil {
		return errNoBody
	}
	lease, err := l.Acquire(ctx, name, timeout, opts...)
	if err != nil {
		return err
	}
	return within(lease, body)
}

func (l Leases) check(t terms, ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("getlock: the TTL is %v; use 1 ms or more", ttl)
	}
	if l.Retry < 0 {
		return errRetry
	}
	if err := checkText("Client", t.ClientID); err != nil {
		return err
	}
	if err := checkText("Note", t.Note); err != nil {
		return err
	}
	if most := ttl / 3 * 2; l.StopWithin >= most {
		return fmt.Errorf("%w: it is %v, and a heartbeat is sent each %v; use less than %v, or a longer TTL",
			errStopWithin, l.StopWithin, ttl/3, most)
	}
	return check(l.StopWithin, l.identity())
}

// ask sends the request until there is an answer. The server knows by its id one that it has had before.
func (l Leases) ask(ctx context.Context, t terms, timeout time.Duration) (leaseAnswer, string, time.Duration, error) {
	start, retry := time.Now(), l.Retry
	if retry == 0 {
		retry = 30 * time.Second
	}
	awaySince, all := start, l.cluster()
	round := all.round()
	for pauseTime := 50 * time.Millisecond; ; {
		began, sent := time.Now(), clock()
		t.WaitMs = -1
		if timeout >= 0 {
			left := timeout - time.Since(start)
			if left < 0 {
				left = 0
			}
			t.WaitMs = (left + time.Millisecond - 1).Milliseconds()
		}
		base := round[0]
		answer, err := l.wait(ctx, base, t)
		if err == nil {
			all.served(base)
		}
		if round = round[1:]; len(round) > 0 && ctx.Err() == nil && leavesOthersToAsk(err) {
			continue
		}
		var lost *lostAnswer
		if !errors.As(err, &lost) || ctx.Err() != nil {
			return answer, base, sent, err
		}
		round = all.round()
		if lost.sent && time.Since(began) > answerTime {
			awaySince = time.Now() // somebody was there
		}
		jittered := pauseTime/2 + time.Duration(rand.Int63n(int64(pauseTime/2)))
		if pauseTime *= 2; pauseTime > 2*time.Second {
			pauseTime = 2 * time.Second
		}
		next := time.Now().Add(jittered)
		// What was sent may have been granted: that is asked for also when the timeout is over.
		isOver := timeout >= 0 && !lost.sent && next.After(start.Add(timeout))
		if isOver || next.After(awaySince.Add(retry)) {
			return answer, base, sent, err
		}
		if !pause(ctx.Done(), jittered) {
			return answer, base, sent, ctx.Err()
		}
	}
}

// leavesOthersToAsk tells whether another node of the cluster may answer better.
func leavesOthersToAsk(err error) bool {
	var lost *lostAnswer
	var refused *Refused
	isUnavailable := errors.As(err, &refused) && refused.Symbol == "Unavailable"
	return isUnavailable || errors.As(err, &lost) || errors.Is(err, context.DeadlineExceeded)
}

// urls are the base URLs.
func (l Leases) urls() []string {
	urls := parts(l.URL)
	for i, url := range urls {
		if url == "" {
			url = "http://127.0.0.1:3308"
		}
		urls[i] = strings.TrimRight(url, "/")
	}
	return urls
}

func (l Leases) cluster() *cluster { return clusterOf("http", l.urls()) }

// wait asks for a lease. If the context ends the wait, its connection says goodbye and listens on: what the
// server had granted by then is given back.
func (l Leases) wait(ctx context.Context, base string, t terms) (leaseAnswer, error) {
	type result struct {
		leaseAnswer
		error
	}
	if err := ctx.Err(); err != nil {
		return leaseAnswer{}, err
	}
	patience := never
	if t.WaitMs >= 0 {
		patience = time.Duration(t.WaitMs)*time.Millisecond + parkedTime
	}
	call, cancel := context.WithTimeout(context.Background(), patience)
	line := parting{dialer: l.cluster().dialer()}
	results := make(chan result, 1)
	go func() {
		answer, err := l.post(call, line.dial, base, "acquire", t)
		var lost *lostAnswer
		if errors.As(err, &lost) {
			lost.sent = line.isOpen()
		}
		results <- result{answer, err}
	}()
	select {
	case got := <-results:
		cancel()
		return got.leaseAnswer, got.error
	case <-ctx.Done():
	}
	line.hangUp()
	go func() {
		defer cancel()
		select {
		case got := <-results:
			if got.error == nil {
				l.giveBack(base, t.names[0], got.LockToken)
			}
		case <-time.After(answerTime):
		}
	}()
	return leaseAnswer{}, ctx.Err()
}

// parting is a connection on which one can say goodbye and listen on.
type parting struct {
	dialer *net.Dialer
	mu     sync.Mutex
	over   bool
	conn   net.Conn
}

func (p *parting) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := p.dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		conn.Close()
		return nil, context.Canceled
	}
	p.conn = conn
	return conn, nil
}

func (p *parting) isOpen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn != nil
}

func (p *parting) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if half, ok := p.conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

type leaseAnswer struct {
	Success                    bool
	Status, Message, LockToken string
	InTheWay                   string
	FencingToken               int64
	Term                       uint64 // of a cluster
}

type dial func(ctx context.Context, network, addr string) (net.Conn, error)

// post sends a request on a connection of its own, and returns what was answered with 200 and a success.
func (l Leases) post(ctx context.Context, dial dial, base, verb string, body any) (answer leaseAnswer, err error) {
	content, err := json.Marshal(body)
	if err != nil {
		return answer, err
	}
	url := base + "/api/lock/" + verb
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(content))
	if err != nil {
		return answer, fmt.Errorf("getlock: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	if l.Token != "" {
		request.Header.Set("Authorization", "Bearer "+l.Token)
	} else if l.User != "" {
		request.SetBasicAuth(l.User, l.Password)
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: l.TLS, DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err == nil {
		defer response.Body.Close()
		content, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	}
	if err != nil {
		err = fmt.Errorf("getlock: %s does not serve (%w); check that getlockd runs there and can be reached", url, err)
		if ctx.Err() == nil {
			err = &lostAnswer{error: err}
		}
		return answer, err
	}
	if json.Unmarshal(content, &answer) != nil || answer.Status == "" {
		err = fmt.Errorf("getlock: %s is not a getlockd, it answers %s; check the address", url, response.Status)
		if response.StatusCode >= 500 {
			err = &lostAnswer{error: err} // a proxy could not pass it on
		}
		return answer, err
	}
	if response.StatusCode != http.StatusOK || !answer.Success {
		return answer, &Refused{answer.Status, answer.Message}
	}
	// A lease outlives the leader, so its own time bounds it. But what an old leader says does not count.
	if _, ok := l.cluster().takes(answer.Term, 0); answer.Term != 0 && !ok {
		return answer, &lostAnswer{error: errOutdated}
	}
	return answer, nil
}

// tokenBody is what a heartbeat and a release send.
type tokenBody struct {
	ResourceName string `json:"resourceName"`
	LockToken    string `json:"lockToken"`
	TTLMs        int64  `json:"ttlMs,omitempty"`
}

// giveBack frees a lease that nobody has seen. If that fails the lease ends by itself.
func (l Leases) giveBack(base, name, token string) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	l.post(ctx, l.cluster().dialer().DialContext, base, "release", tokenBody{ResourceName: name, LockToken: token})
}

// Lease is a lock that is held by heartbeats, which go out by themselves.
type Lease struct {
	hold
	leases    Leases
	base      string    // where the next heartbeat goes
	body      tokenBody // of each heartbeat
	ttl, stop time.Duration
	calls     context.Context // of the heartbeats
	endCalls  context.CancelFunc
	quiet     chan struct{} // closed when no more heartbeats go out
	once      sync.Once
}

// begin makes a lease of a grant that was asked for at sent.
func (l Leases) begin(
	ctx context.Context, t terms, answer leaseAnswer, base string, sent time.Duration,
) (*Lease, error) {
	if answer.LockToken == "" {
		return nil, errNoToken
	}
	ttl := time.Duration(t.TTLMs) * time.Millisecond
	lease := &Lease{leases: l, base: base, ttl: ttl, stop: l.StopWithin, quiet: make(chan struct{})}
	lease.body = tokenBody{t.names[0], answer.LockToken, t.TTLMs}
	if lease.stop == 0 {
		lease.stop = ttl / 5
	}
	lease.calls, lease.endCalls = context.WithCancel(context.Background())
	lease.hold.begin(ctx, t.names, answer.FencingToken, sent+ttl-lease.stop, lease.endCalls)
	err := ctx.Err()
	if err == nil && clock() >= sent+ttl/5 {
		// The wait was long, and when the lease began in it is not known.
		lease.end = never
		err = lease.confirm(ctx)
	}
	if err != nil {
		lease.free()
		go l.giveBack(base, t.names[0], answer.LockToken)
		return nil, err
	}
	go lease.beat()
	go lease.watch(func() time.Duration { return never })
	return lease, nil
}

// confirm sends the first heartbeat, so that it is known until when the lease runs.
func (l *Lease) confirm(ctx context.Context) error {
	first, cancel := context.WithTimeout(ctx, l.ttl)
	defer cancel()
	for {
		err := l.renew(first)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil || l.Err() != nil:
			return l.Err()
		case !pause(first.Done(), l.ttl/20):
			return err
		}
	}
}

// String shows the name, the fencing token and whether the lock is held.
func (l *Lease) String() string {
	return fmt.Sprintf("Lease %s fencing_token=%d held=%v", listed(l.names), l.token, l.Held())
}

// LeaseToken is the secret by which the server knows the lease.
func (l *Lease) LeaseToken() string { return l.body.LockToken }

// Release frees the lock. It returns nil if the lock was held until now, else the *Lost. Further calls return
// the same.
func (l *Lease) Release() error {
	l.once.Do(func() {
		l.endCalls()
		<-l.quiet // a heartbeat behind the release would find no lease
		if l.Held() {
			if err := l.sendRelease(); err != nil {
				l.lose(err)
			}
		}
		l.free()
	})
	return l.Err()
}

// sendRelease tries again, after an error of the network, while the lease still runs.
func (l *Lease) sendRelease() error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	body := tokenBody{ResourceName: l.names[0], LockToken: l.body.LockToken}
	for {
		_, err := l.post(ctx, "release", body)
		var refused *Refused
		if err == nil || errors.As(err, &refused) || !l.Held() || !pause(ctx.Done(), l.ttl/20) {
			return err
		}
	}
}

// post sends to where the lease was last, and the next time to the next address if that fails.
func (l *Lease) post(ctx context.Context, verb string, body tokenBody) (leaseAnswer, error) {
	all := l.leases.cluster()
	answer, err := l.leases.post(ctx, all.dialer().DialContext, l.base, verb, body)
	if err != nil {
		l.base = all.after(l.base)
	}
	return answer, err
}

// beat sends heartbeats, and soon again after one that was not acknowledged.
func (l *Lease) beat() {
	defer close(l.quiet)
	every, patience := l.ttl/3, l.ttl/2
	if l.leases.cluster().isSeveral() {
		patience = l.ttl / 4 // so that there is time for another one
	}
	if patience > answerTime {
		patience = answerTime
	}
	for wait := every; pause(l.calls.Done(), wait); {
		sent := clock()
		ctx, cancel := context.WithTimeout(l.calls, patience)
		err := l.renew(ctx)
		cancel()
		if wait = l.ttl / 20; err == nil {
			wait = sent + every - clock()
		}
	}
}

// renew sends a heartbeat. The lease counts from its sending on.
func (l *Lease) renew(ctx context.Context) error {
	sent := clock()
	_, err := l.post(ctx, "heartbeat", l.body)
	var refused *Refused
	switch {
	case err == nil:
		l.putOff(sent+l.ttl-l.stop, sent+l.ttl)
	case errors.As(err, &refused) && (refused.Symbol == "NotFound" || refused.Symbol == "InvalidToken"):
		l.lose(err)
	case l.calls.Err() == nil:
		l.mu.Lock()
		l.trouble = err
		l.mu.Unlock()
	}
	return err
}

// pause says false if the end comes before its time is over.
func pause(end <-chan struct{}, wait time.Duration) bool {
	select {
	case <-time.After(wait):
		return true
	case <-end:
		return false
	}
}
