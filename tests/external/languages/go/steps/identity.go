package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"

	"getlock"
)

// row is what LOCKS shows of the step's lock, which has one holder.
func (s *stage) row() string {
	row := s.eye.ask("LOCKS " + s.name)
	check(s.eye.line() == "END 1", "it is not the only one: %s", row)
	return row
}

func (s *stage) mustShow(wanted string) {
	row := s.row()
	check(strings.Contains(row, wanted), "no %s in %s", wanted, row)
}

// ownName is what a client is called by default.
func ownName() string {
	host, err := os.Hostname()
	check(err == nil, "%v", err)
	return fmt.Sprintf("@%s[%d] steps'", host, os.Getpid())
}

var long = strings.Repeat("n", 257)

func introduced(s *stage) {
	byDefault := s.mustTake()
	s.mustShow(ownName())
	check(!strings.Contains(s.row(), "note="), "there is a note")
	s.mustRelease(byDefault)
	s.locks.Name, s.locks.Note = "it's me", `nightly \ backup`
	guard := s.mustTake()
	s.mustShow(`client='it\'s me' note='nightly \\ backup'`)
	wanted := fmt.Sprintf("Guard %q session=%d fencing_token=%d held=true", s.name, guard.Session(), guard.FencingToken())
	check(fmt.Sprint(guard) == wanted, "%v, not %s", guard, wanted)
	s.mustRelease(guard)
	guard, err := getlock.Server{Addr: s.locks.Addr, Anonymous: true}.Acquire(ctx, s.name, 0)
	check(err == nil && !strings.Contains(s.row(), "client="), "%v", err)
	s.mustRelease(guard)
	for _, wrong := range []getlock.Server{{Name: long}, {Note: long}, {Note: "none", Anonymous: true}} {
		wrong.Addr, wrong.Retry = "127.0.0.1:1", 1
		_, err := wrong.Acquire(ctx, s.name, 0)
		check(err != nil && strings.HasPrefix(err.Error(), "getlock: ") && !strings.Contains(err.Error(), "127"), "%v", err)
	}
	server := stub{promises: 100, says: map[string]string{"INTRODUCE": "ERROR UNKNOWN_COMMAND it is older"}}.start()
	defer server.Close()
	guard, err = server.locks().Acquire(ctx, s.name, 0)
	check(err == nil, "%v", err)
	s.mustRelease(guard)
}

func leaseIntroduced(s *stage) {
	shows := func(wanted string, opts ...getlock.LeaseOption) {
		err := s.leases.Lock(ctx, s.name, 0, func(context.Context, *getlock.Lease) error {
			s.mustShow(wanted)
			return nil
		}, opts...)
		check(err == nil, "%v", err)
	}
	shows(ownName())
	s.leases.Name, s.leases.Note = "web-1", "backup"
	shows("client=web-1 note=backup")
	shows("client=web-2 note=repair", getlock.Client("web-2"), getlock.Note("repair"))
	for _, wrong := range []getlock.LeaseOption{getlock.Client(long), getlock.Note(long)} {
		_, err := s.leases.TryLock(ctx, s.name, wrong)
		check(err != nil && strings.Contains(err.Error(), "at most 256"), "%v", err)
	}
	lease, err := getlock.Leases{URL: s.leases.URL, Anonymous: true}.TryLock(ctx, s.name)
	check(err == nil && !strings.Contains(s.row(), "client="), "%v", err)
	wanted := fmt.Sprintf("Lease %q fencing_token=%d held=true", s.name, lease.FencingToken())
	check(fmt.Sprint(lease) == wanted, "%v, not %s", lease, wanted)
	s.mustRelease(lease)
}

// losingProxy passes on requests, and loses the answer to the first acquire. ids are those of the acquires.
type losingProxy struct {
	*httptest.Server
	mu  sync.Mutex
	ids []string
}

func (s *stage) losingProxy() *losingProxy {
	p := &losingProxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ RequestID string }
		body, _ := io.ReadAll(r.Body)
		json.Unmarshal(body, &asked)
		answer, err := http.Post(s.leases.URL+r.URL.Path, "application/json", strings.NewReader(string(body)))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer answer.Body.Close()
		if strings.HasSuffix(r.URL.Path, "/acquire") && p.isFirst(asked.RequestID) {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(answer.StatusCode)
		io.Copy(w, answer.Body)
	}))
	return p
}

func (p *losingProxy) isFirst(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids = append(p.ids, id)
	return len(p.ids) == 1
}

func leaseAskedAgain(s *stage) {
	proxy := s.losingProxy()
	defer proxy.Close()
	behind := getlock.Leases{URL: proxy.URL}
	for turn := 0; turn < 2; turn++ {
		lease, err := behind.TryLock(ctx, s.name)
		check(err == nil && lease.Held(), "%v", err)
		s.row()
		s.mustRelease(lease)
		s.isFree()
	}
	ids := proxy.ids
	check(len(ids) == 3 && ids[0] == ids[1] && ids[1] != ids[2], "%v", ids)
	check(len(ids[0]) >= 16 && len(ids[0]) <= 64, "%v", ids)
}
