package getlock

import (
	"context"
	"errors"
)

// Lead is leader election: it runs body while this process holds the lock, and again when it holds it again.
//
// When leadership is lost, the context of body is cancelled. A body that returns nil by itself releases the lock. In
// both cases this process is then a candidate again, behind the others, and its next term has a new fencing token.
// The election ends with an error that body returns, unless that is the *Lost, or context.Canceled after a loss. It
// ends with ctx too. So Lead never returns nil.
//
// A server that cannot be reached ends it within Retry of the first try. Once the server has answered it is tried
// forever.
func (s Server) Lead(ctx context.Context, name string, body func(ctx context.Context, guard *Guard) error) error {
	if body == nil {
		return errNoBody
	}
	for {
		w, err := s.wait(name, Forever, nil)
		if err != nil {
			return err
		}
		w.outlasts = true
		guard, err := w.take(ctx)
		if err != nil {
			return err
		}
		err = within(guard, body)
		if lost := guard.Err(); err != nil && (lost == nil || !isOfLoss(err, lost)) {
			return err
		}
		s.Retry = century
	}
}

// isOfLoss tells whether a body has ended with err since its lock was lost.
func isOfLoss(err, lost error) bool {
	var both *failedAndLost
	if errors.As(err, &both) {
		return errors.Is(both.failed, context.Canceled)
	}
	return errors.Is(err, lost)
}
