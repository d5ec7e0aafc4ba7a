//go:build !linux

package getlock

import "time"

func clock() time.Duration { return monotonic() }
