//go:build !go1.20

package getlock

import "context"

// withCause keeps no cause: Go 1.19 knows none.
func withCause(parent context.Context) (context.Context, func(cause error)) {
	ctx, cancel := context.WithCancel(parent)
	return ctx, func(error) { cancel() }
}
