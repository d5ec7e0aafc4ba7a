package getlock

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ErrNotGranted says that others held the lock until the timeout was over: errors.Is(err, ErrNotGranted). It is
// a time-out: it is os.ErrDeadlineExceeded too, and its Timeout method says true.
var ErrNotGranted error = &notGranted{nil, "the lock"}

type notGranted struct {
	names    []string
	inTheWay string
}

func (n *notGranted) Error() string {
	what := ""
	if len(n.names) > 1 {
		what = "so " + listed(n.names) + " were not granted; "
	}
	return fmt.Sprintf("getlock: others held %s until the timeout was over; %swait longer, or try again later",
		n.inTheWay, what)
}

func listed(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return strings.Join(quoted, ", ")
}

func (n *notGranted) Timeout() bool { return true }

func (n *notGranted) Is(target error) bool {
	return target == ErrNotGranted || target == os.ErrDeadlineExceeded
}

// Refused is what the server answered as an error: Symbol is for programs, Text for people.
type Refused struct{ Symbol, Text string }

func (r *Refused) Error() string { return "getlock: " + r.Symbol + ": " + r.Text }

// Lost says that a lock is gone. It is a Refused too, for errors.As.
type Lost struct {
	Refused        // what the server said; Symbol is empty if the connection broke or the time ran out
	Name    string // of the lock
	Err     error  // why it is lost
}

func newLost(name string, why error) *Lost {
	lost := &Lost{Name: name, Err: why}
	var refused *Refused
	if errors.As(why, &refused) {
		lost.Refused = *refused
	}
	return lost
}

func (l *Lost) Error() string {
	why := l.Symbol + ": " + l.Text
	if l.Symbol == "" {
		why = strings.TrimPrefix(l.Err.Error(), "getlock: ")
	}
	return fmt.Sprintf("getlock: the lock %s is lost (%s); stop the work, and take the lock again", l.Name, why)
}

// Unwrap returns why the lock is lost.
func (l *Lost) Unwrap() error { return l.Err }

// As makes each Lost a Refused.
func (l *Lost) As(target any) bool {
	refused, ok := target.(**Refused)
	if ok {
		*refused = &l.Refused
	}
	return ok
}

// failedAndLost is what a body returned whose lock was lost: the error of the body, with the loss behind it.
type failedAndLost struct{ failed, lost error }

func (f *failedAndLost) Error() string { return f.failed.Error() + " (" + f.lost.Error() + ")" }
func (f *failedAndLost) Unwrap() error { return f.failed }

func (f *failedAndLost) Is(target error) bool { return errors.Is(f.lost, target) }

func (f *failedAndLost) As(target any) bool {
	return errors.As(f.failed, target) || errors.As(f.lost, target)
}

// lostAnswer says that a request was sent, or was to be sent, and that nobody knows its answer.
type lostAnswer struct {
	error
	sent bool // whether there was a connection
}

func (l *lostAnswer) Unwrap() error { return l.error }

var (
	errNoAnswer   = errors.New("the server has not answered in time")
	errNoEnd      = errors.New("the server sends a line without an end")
	errRetry      = errors.New("getlock: Retry is negative; use 0 for the default, or 1 for no time at all")
	errStopWithin = errors.New("getlock: StopWithin is too long")
	errNoToken    = errors.New("getlock: the server granted a lease without a token; check that the address is of getlockd")
	errAnonymous  = errors.New("getlock: Anonymous goes without a Name and a Note; leave them out, or Anonymous")
	errPermit     = errors.New("getlock: a permit is of one lock, and not shared; leave out Limit, or Also and Shared")
	errPrefix     = errors.New("getlock: the prefix is not valid UTF-8; encode it")
	errNoBody     = errors.New("getlock: the function that needs the lock is nil; give one")
)
