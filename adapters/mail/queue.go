package mail

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/postern-io/postern/authn"
)

const (
	// maxWaiting bounds the line. A server that hangs takes some 5 seconds of a
	// worker for each try, so a full line is done within half an hour, which is
	// about as long as the keys in it are good.
	maxWaiting = 256
	// workers is how many letters are on their way at once.
	workers = 4
	// writeTimeout bounds the look into the store for a letter.
	writeTimeout = 5 * time.Second
	// lastTime is what a stop gives to the letters that are left.
	lastTime = 5 * time.Second
)

// pauses are a server's restart, and a grey list that wants to be asked again
// (RFC 5321 §4.5.4.1 would wait for hours; the keys are good for minutes).
var pauses = []time.Duration{2 * time.Second, 30 * time.Second}

// Post implements authn.Mailer.
func (m *Mailer) Post(write func(context.Context) (authn.Letter, error)) error {
	select {
	case m.line <- write:
		return nil
	default:
		return &authn.LimitedError{RetryAfter: time.Minute}
	}
}

// Run sends letters until ctx ends, then tries once what is left, for at most 5
// seconds, and returns nil. Nothing runs on after it.
func (m *Mailer) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { m.work(ctx) })
	}
	group.Wait()
	if n := len(m.line); n > 0 {
		m.config.Log.Warn("letters not sent before the stop", "letters", n)
	}
	return nil
}

func (m *Mailer) work(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case write := <-m.line:
			m.deliver(ctx, write)
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	for last.Err() == nil {
		select {
		case write := <-m.line:
			m.deliver(last, write)
		default:
			return
		}
	}
}

// deliver writes a letter and tries to send it. It is where a failure ends: in
// the log, without the address and the key.
func (m *Mailer) deliver(ctx context.Context, write func(context.Context) (authn.Letter, error)) {
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	l, err := write(writing)
	cancel()
	switch {
	case err != nil:
		m.config.Log.Warn("letter not written", "err", err)
		return
	case l.To == "":
		return
	}
	for try := 0; ; try++ {
		if err = m.send(ctx, l); err == nil {
			m.config.Log.Info("letter sent", "kind", l.Kind)
			return
		}
		if try == len(m.pauses) || !again(err) || !pause(ctx, m.pauses[try]) {
			m.config.Log.Warn("letter not sent", "kind", l.Kind, "tries", try+1, "err", bare(err))
			return
		}
	}
}

// pause waits, and reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// again reports whether a failure may be another one next time: whatever is not
// a plain no of the server to this letter.
func again(err error) bool {
	var refused *gomail.SendError
	return !errors.Is(err, errLetter) && (!errors.As(err, &refused) || refused.IsTemp() || refused.ErrorCode() == 0)
}

// bare is an error without what a server may have repeated in it: the address,
// the letter.
func bare(err error) error {
	var refused *gomail.SendError
	if !errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("%s (code %d)", refused.Reason, refused.ErrorCode())
}
