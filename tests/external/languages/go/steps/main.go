// The steps of tests/external/languages/steps.md, for the client of Go: steps LINE_PORT HTTP_PORT.
package main

import (
	"fmt"
	"os"
	"time"
)

// steps are in the order of the page. One without a function does not apply, for the reason beside it.
var steps = []struct {
	name string
	run  func(*stage)
	skip string
}{
	{"acquire", acquire, ""},
	{"try-lock", tryLock, ""},
	{"nothing-is-no-block", nil, "Go has no blocks that a value is entered as"},
	{"not-granted", notGranted, ""},
	{"body-needs-the-lock", bodyNeedsTheLock, ""},
	{"decorator-needs-the-lock", nil, "Go has no decorators"},
	{"body-result", bodyResult, ""},
	{"shared", shared, ""},
	{"refused", refused, ""},
	{"server-away", serverAway, ""},
	{"killed-waiting", killedWaiting, ""},
	{"interrupted-waiting", interruptedWaiting, ""},
	{"introduced", introduced, ""},
	{"lost-in-the-body", lostInTheBody, ""},
	{"lost-and-raised", lostAndRaised, ""},
	{"release-after-loss", releaseAfterLoss, ""},
	{"guard-as-block", nil, "Go has no blocks that a value is entered as"},
	{"ended-while-waiting", endedWhileWaiting, ""},
	{"ended-as-granted", endedAsGranted, ""},
	{"ended-while-holding", endedWhileHolding, ""},
	{"fork-leaves", nil, "a program of Go cannot fork"},
	{"fork-exits", nil, "a program of Go cannot fork"},
	{"fork-outlives", nil, "a program of Go cannot fork"},
	{"close-on-exec", closeOnExec, ""},
	{"forever", forever, ""},
	{"wrong-timeouts", wrongTimeouts, ""},
	{"wrong-arguments", wrongArguments, ""},
	{"told-in-time", toldInTime, ""},
	{"held-in-time", heldInTime, ""},
	{"open-to-the-end", openToTheEnd, ""},
	{"late-grant", lateGrant, ""},
	{"questions-in-a-wait", questionsInAWait, ""},
	{"several-addresses", severalAddresses, ""},
	{"parked", parked, ""},
	{"told-in-a-cluster", toldInACluster, ""},
	{"old-leader", oldLeader, ""},
	{"waits-for-the-next", waitsForTheNext, ""},
	{"lease-addresses", leaseAddresses, ""},
	{"several", several, ""},
	{"permits", permits, ""},
	{"told-of-waiters", toldOfWaiters, ""},
	{"watched", watched, ""},
	{"leads-again", leadsAgain, ""},
	{"ends-to-lead", endsToLead, ""},
	{"several-on-a-server", severalOnAServer, ""},
	{"permits-on-a-server", permitsOnAServer, ""},
	{"waiters-on-a-server", waitersOnAServer, ""},
	{"watched-on-a-server", watchedOnAServer, ""},
	{"lease", lease, ""},
	{"lease-not-granted", leaseNotGranted, ""},
	{"lease-lost", leaseLost, ""},
	{"lease-in-time", leaseInTime, ""},
	{"lease-introduced", leaseIntroduced, ""},
	{"lease-asked-again", leaseAskedAgain, ""},
}

func main() {
	if os.Args[1] == "hold" {
		holdBesideACommand(os.Args[2], os.Args[3])
		return
	}
	failed := false
	for _, step := range steps {
		if step.run == nil {
			fmt.Printf("skip %s: %s\n", step.name, step.skip)
		} else if why := try(step.name, step.run); why != "" {
			fmt.Printf("not ok %s: %s\n", step.name, why)
			failed = true
		} else {
			fmt.Println("ok", step.name)
		}
	}
	if failed {
		os.Exit(1)
	}
}

// try runs a step, and tells why it failed. A step that hangs has failed.
func try(name string, run func(*stage)) string {
	result := make(chan string, 1)
	go func() {
		s := &stage{name: name, linePort: os.Args[1], httpPort: os.Args[2]}
		defer func() {
			why, failed := recover().(failure)
			s.close()
			if result <- string(why); failed {
				return
			}
		}()
		s.open()
		run(s)
	}()
	select {
	case why := <-result:
		return why
	case <-time.After(time.Minute):
		return "it hangs"
	}
}
