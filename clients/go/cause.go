//go:build go1.20

package getlock

import "context"

func withCause(parent context.Context) (context.Context, func(cause error)) {
	ctx, cancel := context.WithCancelCause(parent)
	return ctx, cancel
}
