package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"getlock"
)

// nowhere is an address at which nobody listens.
func nowhere() string {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "%v", err)
	defer closed.Close()
	return closed.Addr().String()
}

// elsewhere is a node that cannot serve: it says so, or closes the connection without a word.
type elsewhere struct {
	net.Listener
	came int32
}

func startElsewhere(words string) *elsewhere {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "%v", err)
	node := &elsewhere{Listener: listener}
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			atomic.AddInt32(&node.came, 1)
			conn.Read(make([]byte, 4096))
			conn.Write([]byte(words))
			conn.Close()
		}
	}()
	return node
}

func (n *elsewhere) addr() string { return n.Addr().String() }

func (n *elsewhere) mustHaveCome(wanted int32) {
	came := atomic.LoadInt32(&n.came)
	check(came == wanted, "it was asked %d times, not %d", came, wanted)
}

const (
	noLeader     = "ERROR UNAVAILABLE no leader\n"
	noLeaderBody = `{"success":false,"status":"Unavailable","message":"no leader"}`
)

func webAnswer(code int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d Said\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", code, len(body), body)
}

func nodes(addrs ...string) getlock.Server {
	return getlock.Server{Addr: strings.Join(addrs, ", "), Retry: time.Nanosecond}
}

func severalAddresses(s *stage) {
	good := stub{promises: 1000}.start()
	defer good.Close()
	take := func(locks getlock.Server) {
		guard, err := locks.Acquire(ctx, s.name, 0)
		check(err == nil, "%v", err)
		s.mustRelease(guard)
	}
	take(nodes(nowhere(), good.Addr().String()))
	for _, words := range []string{"", noLeader, "ERROR SHUTDOWN the server is stopping\n"} {
		other := startElsewhere(words)
		locks := nodes(other.addr(), good.Addr().String())
		for i := 0; i < 3; i++ {
			take(locks)
		}
		other.mustHaveCome(1)
		other.Close()
	}
	one, two := startElsewhere(noLeader), startElsewhere(noLeader)
	defer one.Close()
	defer two.Close()
	_, err := nodes(one.addr(), two.addr()).Acquire(ctx, s.name, 0)
	check(isRefused(err, "UNAVAILABLE"), "%v", err)
	one.mustHaveCome(1)
	two.mustHaveCome(1)
}

func parked(s *stage) {
	node, other := stub{promises: 1000, silent: 4 * time.Second}.start(), startElsewhere("")
	defer node.Close()
	defer other.Close()
	guard, err := nodes(node.Addr().String(), other.addr()).Acquire(ctx, s.name, 0)
	check(err == nil, "%v", err)
	s.mustRelease(guard)
	other.mustHaveCome(0)
}

func toldInACluster(s *stage) {
	// A question each ninth of the longest promise, however short the last one is.
	server := stub{promises: 1000, lefts: []string{"left=0.800 term=7", "left=1.000 term=7", "left=0.700 term=7"}}.start()
	defer server.Close()
	locks := server.locks()
	locks.StopWithin = 200 * time.Millisecond
	guard, err := locks.Acquire(ctx, s.name, 0)
	check(err == nil, "%v", err)
	server.third()
	start := time.Now()
	for i := 0; i < 8; i++ {
		within("a question", server.promised)
	}
	took := time.Since(start)
	check(took > 700*time.Millisecond && took < 1400*time.Millisecond, "8 questions in %v", took)
	check(guard.Held(), "%v", guard.Err())
	s.mustRelease(guard)

	server = stub{promises: 3, lefts: []string{"left=1.000 term=7"}}.start()
	defer server.Close()
	locks = server.locks()
	locks.StopWithin = 300 * time.Millisecond
	guard, err = locks.Acquire(ctx, s.name, 0)
	check(err == nil, "%v", err)
	third := server.third()
	within("the loss is told", guard.Lost())
	took = time.Since(third)
	check(took < 800*time.Millisecond && isLost(guard.Release(), ""), "told %v after the third question", took)

	server = stub{promises: 3, lefts: []string{"left=1.000 term=7"}}.start()
	defer server.Close()
	locks = server.locks()
	locks.StopWithin = 310 * time.Millisecond
	_, err = locks.Acquire(ctx, s.name, 0)
	check(err != nil && strings.Contains(err.Error(), "--cluster-ttl"), "%v", err)
}

func oldLeader(s *stage) {
	server := stub{promises: 1000, lefts: []string{"left=1.000 term=8", "left=1.000 term=8", "left=1.000 term=7"}}.start()
	defer server.Close()
	guard, err := server.locks().Acquire(ctx, s.name, 0)
	check(err == nil, "%v", err)
	third := server.third()
	within("the loss is told", guard.Lost())
	check(time.Since(third) < 300*time.Millisecond && !guard.Held(), "%v", guard.Err())
	within("the connection is closed", server.closed)

	// All connections of a client know the highest term; this one is of a lower.
	server.lefts[0] = "left=1.000 term=7"
	_, err = server.locks().Acquire(ctx, s.name, 0)
	check(err != nil && strings.Contains(err.Error(), "no longer leads"), "%v", err)

	server = stub{promises: 1000, lefts: []string{"left=1.000 term=8", "left=1.000 term=9"}}.start()
	defer server.Close()
	guard, err = server.locks().Acquire(ctx, s.name, 0)
	check(err == nil, "%v", err)
	within("a connection is of one term", guard.Lost())

	late := []string{"left=1.000 term=8", "left=0.000 term=8"}
	server = stub{promises: 1000, grantAfter: 1200 * time.Millisecond, lefts: late}.start()
	defer server.Close()
	guard, err = server.locks().Acquire(ctx, s.name, 0)
	check(guard == nil && err != nil, "a grant with no time left is one")
	within("the connection is closed", server.closed)
}

// waitsForTheNext is told by its questions that the leader has vanished.
func waitsForTheNext(s *stage) {
	old := stub{promises: 2, lefts: []string{"left=0.500 term=7"}, grantAfter: time.Minute}.start()
	defer old.Close()
	next := stub{promises: 1000, lefts: []string{"left=1.000 term=8"}}.start()
	defer next.Close()
	start := time.Now()
	guard, err := nodes(old.Addr().String(), next.Addr().String()).Acquire(ctx, s.name, 30*time.Second)
	check(err == nil, "%v", err)
	took := time.Since(start)
	check(took > 800*time.Millisecond && took < 5*time.Second, "the next one serves after %v", took)
	s.mustRelease(guard)
}

// leaseNode answers each request by its verb, and tells of heartbeats.
type leaseNode struct {
	net.Listener
	beats chan time.Time
}

func startLeaseNode(says map[string]string) *leaseNode {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "%v", err)
	node := &leaseNode{listener, make(chan time.Time, 1000)}
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			line, _ := bufio.NewReader(conn).ReadString('\n')
			verb := strings.Fields(line)[1]
			verb = verb[strings.LastIndex(verb, "/")+1:]
			if verb == "heartbeat" {
				node.beats <- time.Now()
			}
			conn.Write([]byte(webAnswer(200, says[verb])))
			conn.Close()
		}
	}()
	return node
}

func (n *leaseNode) url() string { return "http://" + n.Addr().String() }

func leaseSays(acquired, beaten string) map[string]string {
	return map[string]string{
		"acquire":   `{"success":true,"status":"Acquired","lockToken":"t","fencingToken":8` + acquired + `}`,
		"heartbeat": beaten,
		"release":   `{"success":true,"status":"Released"}`,
	}
}

func leaseAddresses(s *stage) {
	const beaten, refused = `{"success":true,"status":"HeartbeatReceived"`, `{"success":false,"status":"Unavailable"}`
	good := startLeaseNode(leaseSays("", beaten+"}"))
	defer good.Close()
	take := func(leases getlock.Leases, ttl time.Duration) *getlock.Lease {
		lease, err := leases.Acquire(ctx, s.name, 0, getlock.TTL(ttl))
		check(err == nil, "%v", err)
		return lease
	}
	s.mustRelease(take(getlock.Leases{URL: "http://" + nowhere() + "," + good.url()}, time.Minute))
	for _, words := range []string{"", webAnswer(503, noLeaderBody)} {
		other := startElsewhere(words)
		leases := getlock.Leases{URL: "http://" + other.addr() + "," + good.url()}
		for i := 0; i < 2; i++ {
			s.mustRelease(take(leases, time.Minute))
		}
		other.mustHaveCome(1)
		other.Close()
	}

	// The lease outlives the leader: the next node takes its heartbeats.
	one := startLeaseNode(leaseSays("", refused))
	defer one.Close()
	lease := take(getlock.Leases{URL: one.url() + "," + good.url()}, time.Second)
	for i := 0; i < 4; i++ {
		within("a heartbeat to the other", good.beats)
	}
	check(lease.Held() && len(one.beats) == 1, "%v, %d heartbeats", lease.Err(), len(one.beats))
	s.mustRelease(lease)

	// What an old leader acknowledges does not count.
	old := startLeaseNode(leaseSays(`,"term":8`, beaten+`,"term":7}`))
	defer old.Close()
	lease = take(getlock.Leases{URL: old.url()}, time.Second)
	within("the loss is told", lease.Lost())
	check(len(old.beats) > 1, "it is asked again")
}
