package getlock

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

const longestText = 256 // characters of a name or a note of a client

// identity is what the lists of the server show of this client. By default the name is user@host[pid] program.
type identity struct {
	name, note string
	anonymous  bool
}

func (i identity) check() error {
	if i.anonymous && i.name+i.note != "" {
		return errAnonymous
	}
	if err := checkText("Name", i.name); err != nil {
		return err
	}
	return checkText("Note", i.note)
}

func checkText(what, text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("getlock: %s is not valid UTF-8; encode it", what)
	}
	if length := utf8.RuneCountInString(text); length > longestText {
		return fmt.Errorf("getlock: %s has %d characters; use at most %d", what, length, longestText)
	}
	return nil
}

// shown is the name to send; empty if none is to be sent.
func (i identity) shown() string {
	if i.anonymous || i.name != "" {
		return i.name
	}
	return ownName()
}

// line is the command that sends them; empty if nothing is to be sent.
func (i identity) line() string {
	switch {
	case i.anonymous:
		return ""
	case i.note == "":
		return "INTRODUCE " + quoted(i.shown())
	}
	return "INTRODUCE " + quoted(i.shown()) + " " + quoted(i.note)
}

// ownName leaves out the arguments: these may be secret.
func ownName() string {
	name := strconv.Itoa(os.Getuid()) // a container may know no name for its user
	if me, err := user.Current(); err == nil {
		name = me.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	whole := fmt.Sprintf("%s@%s[%d] %s", name, host, os.Getpid(), filepath.Base(os.Args[0]))
	runes := []rune(strings.ToValidUTF8(whole, "?"))
	if len(runes) > longestText {
		runes = runes[:longestText]
	}
	return string(runes)
}

// isOlder tells whether the server does not know INTRODUCE. Such a server shows no names, which is no error.
func isOlder(err error) bool {
	var refused *Refused
	return errors.As(err, &refused) && refused.Symbol == "UNKNOWN_COMMAND"
}

// newRequestID is a random UUID.
func newRequestID() (string, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", fmt.Errorf("getlock: the system gives no random numbers: %w", err)
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]), nil
}
