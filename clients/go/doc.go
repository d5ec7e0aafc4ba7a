// SPDX-License-Identifier: MIT

// Package getlock takes locks of getlockd: by connections, and as leases over HTTP.
//
//	var locks getlock.Server // at 127.0.0.1:3305
//	err := locks.Lock(ctx, "nightly", 10*time.Second, func(ctx context.Context, guard *getlock.Guard) error {
//		return backup(ctx, guard.FencingToken())
//	})
//	if errors.Is(err, getlock.ErrNotGranted) {
//		return nil // somebody else does it
//	}
//
// Lock runs the function while it holds the lock, and never without it. Acquire and TryLock return a Guard,
// which holds the lock until Release. A Guard that is forgotten holds its lock until the process ends.
//
// # Timeouts
//
// A timeout is a time.Duration, so write its unit: a bare 10 is ten nanoseconds. 0 tries and does not wait.
// Forever waits forever. So does each negative timeout, and each of more than a hundred years.
//
// The end of the context ends the wait too. The client then leaves the queue at once and holds nothing.
//
// # When a lock is lost
//
// A lock is lost when the server ends its session (KILL), when the connection breaks, and when the server has
// not answered for too long. The context of the body is cancelled then, Lost is closed, and Held is false. From
// Go 1.20 on, context.Cause of that context is the *Lost; with each version Err of the guard is. Lock returns
// the *Lost, so nobody takes the work for done. Stop the work, or let the store refuse your fencing token:
// another may hold the lock soon.
//
// A Guard asks the server again and again how long its lock is safe. Its loss is reported StopWithin before that
// time is over, so the work can stop before another begins. The server frees a lock when its connection ends, so
// that stays open, unused, until Release or until that time is over. The time for which a machine sleeps counts
// on Linux; elsewhere it does not.
//
// A lost lock never comes back by itself: take it again, with a new fencing token. While nothing is held, a wait
// whose connection breaks connects again and queues again at the end, until its timeout is over.
//
// # Several locks, permits, and being told
//
// Options say how a lock is taken. Also has the names of further locks: all of them are taken or none. Limit asks
// for one of so many permits. OnWaiter is called when another session waits for what the guard holds. Watch tells
// what happens to all locks whose names begin with a prefix. The package sends nothing new unless it is asked to, so
// a server that does not know these commands serves all other calls, and answers these with a *Refused.
//
// # Leader election
//
// Lead runs a function while this process holds the lock, and again when it holds it again:
//
//	var locks getlock.Server
//	err := locks.Lead(ctx, "scheduler", schedule) // func schedule(ctx context.Context, guard *getlock.Guard) error
//
// # How to use it
//
// The package needs Go 1.19 and nothing else. Copy its folder into your project, or let go.mod point to it:
//
//	require getlock v0.0.0
//	replace getlock => ./getlock
//
// The path in replace is relative to your go.mod, and begins with ./ or ../.
package getlock

// Version is the version of this package.
const Version = "0.1.0"
