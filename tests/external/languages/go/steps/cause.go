//go:build go1.20

package main

import "context"

func init() { causeOf = context.Cause }
