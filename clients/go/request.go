package getlock

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	mostNames   = 64 // of one request
	mostPermits = 65535
)

// Option is how a lock is taken: a Mode, a Limit, Also or OnWaiter.
type Option interface{ want(*request) }

// Mode is how a lock is held: Exclusive by default.
type Mode bool

// The modes of a lock.
const (
	Exclusive Mode = false
	Shared    Mode = true // beside others that share it
)

// Limit asks for a permit: at most so many sessions hold the lock together, from 1 to 65535. All of them ask with
// the same limit.
type Limit int

// Also has the names of further locks, 64 with the first. All of them are taken or none, in one wait that holds
// nothing. They have one fencing token.
type Also []string

// OnWaiter is called when another session begins to wait for what the guard holds: with one event after the other,
// by a goroutine of its own.
type OnWaiter func(Event)

func (m Mode) want(r *request)     { r.shared = m == Shared }
func (l Limit) want(r *request)    { r.isPermit, r.limit = true, int(l) }
func (a Also) want(r *request)     { r.names = append(r.names, a...) }
func (o OnWaiter) want(r *request) { r.onWaiter = o }

// request is what is to be taken.
type request struct {
	names            []string
	shared, isPermit bool
	limit            int
	onWaiter         func(Event)
}

// check refuses what would only be found out after something was sent, and keeps each name once.
func (r *request) check() error {
	seen, names := map[string]bool{}, []string(nil)
	for _, name := range r.names {
		if !utf8.ValidString(name) {
			return &Refused{"BAD_NAME", "the name is not valid UTF-8; send UTF-8"}
		}
		if !seen[name] {
			names = append(names, name)
		}
		seen[name] = true
	}
	r.names = names
	switch {
	case len(names) > mostNames:
		return fmt.Errorf("getlock: a request is for at most %d locks; this one is for %d", mostNames, len(names))
	case r.isPermit && (r.limit < 1 || r.limit > mostPermits):
		return fmt.Errorf("getlock: Limit is %d; use 1 to %d", r.limit, mostPermits)
	case r.isPermit && (r.shared || len(names) > 1):
		return errPermit
	}
	return nil
}

// plural is the end of a command that takes several names.
func (r *request) plural() string {
	if len(r.names) > 1 {
		return "S"
	}
	return ""
}

func (r *request) words() string {
	words := make([]string, len(r.names))
	for i, name := range r.names {
		words[i] = quoted(name)
	}
	return strings.Join(words, " ")
}

// taking is the command that takes them, without its timeout.
func (r *request) taking() string {
	switch {
	case r.isPermit:
		return fmt.Sprintf("GET_PERMIT %s %d", r.words(), r.limit)
	case r.shared:
		return "GET_SHARED_LOCK" + r.plural() + " " + r.words()
	}
	return "GET_LOCK" + r.plural() + " " + r.words()
}

func (r *request) freeing() string { return "RELEASE_LOCK" + r.plural() + " " + r.words() }

// granted reads the answer: 1, or 0. Of several locks, the name of the one that was in the way follows 0.
func (r *request) granted(answer string) error {
	inTheWay := strings.TrimPrefix(answer, "0 ")
	switch {
	case answer == "1":
		return nil
	case answer == "0" && len(r.names) == 1:
		return &notGranted{r.names, r.names[0]}
	case inTheWay != answer && inTheWay != "" && len(r.names) > 1:
		return &notGranted{r.names, plain(inTheWay)}
	}
	return unexpected(answer)
}

// isCount tells whether a release has freed something. The session holds nothing but the locks of one request, so
// it has all of them or none.
func isCount(answer string) bool {
	freed, err := strconv.ParseUint(answer, 10, 32)
	return err == nil && freed > 0
}

// InTheWay is the name of the lock that could not be had, of an ErrNotGranted. Of several locks it is the first.
func InTheWay(err error) string {
	var missed *notGranted
	if errors.As(err, &missed) {
		return missed.inTheWay
	}
	return ""
}
