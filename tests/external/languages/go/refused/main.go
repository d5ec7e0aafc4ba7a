//go:build refused

// What the compiler must refuse: each line that says so, and install looks at each.
package main

import (
	"context"
	"math"
	"time"

	"getlock"
)

func main() {
	ctx := context.Background()
	var locks getlock.Server
	var leases getlock.Leases
	locks.Acquire(ctx, "nightly", "10")                      // refused
	locks.Acquire(ctx, "nightly", true)                      // refused
	locks.Acquire(ctx, "nightly", nil)                       // refused
	locks.Acquire(ctx, "nightly", 0.5)                       // refused
	locks.Acquire(ctx, "nightly", math.NaN())                // refused
	locks.Acquire(ctx, "nightly", 1e300)                     // refused
	locks.Acquire(ctx, time.Second, "nightly")               // refused
	locks.Acquire(ctx, 5, time.Second)                       // refused
	locks.Acquire(ctx, nil, time.Second)                     // refused
	locks.Acquire(ctx, []byte("nightly"), time.Second)       // refused
	locks.Acquire(ctx, "nightly", 0, getlock.Note("why"))    // refused
	locks.Acquire(ctx, "nightly", 0, getlock.Limit("3"))     // refused
	locks.Acquire(ctx, "nightly", 0, "weekly")               // refused
	leases.Acquire(ctx, "nightly", "10")                     // refused
	leases.Acquire(ctx, "nightly", 0, getlock.OnWaiter(nil)) // refused
	leases.Acquire(ctx, time.Second, "nightly")              // refused
	leases.Acquire(ctx, "nightly", 0, time.Second)           // refused
}
