package mqttgen

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Target is where a load goes.
type Target struct {
	Addr, User, Password, Topic string
}

// A Load is publishers and subscribers of one topic.
type Load struct {
	Target
	Publishers, Subscribers int
	QoS                     byte // of publishing and of subscribing
	Window                  int  // messages under way for each publisher; default 100
	Payload                 int  // bytes; default 100
	Batch                   int  // messages written at once; default 1, as devices do
	Warm, Time              time.Duration
}

// A Result is messages per second.
type Result struct {
	Published float64 // acknowledged, when QoS is 1
	Delivered float64 // to all subscribers together
	Messages  float64 // published in all, with the time to get warm
}

// Run runs the load.
func (l Load) Run() (Result, error) {
	if l.Window == 0 {
		l.Window = 100
	}
	if l.Batch == 0 {
		l.Batch = 1
	}
	if l.Payload == 0 {
		l.Payload = 100
	}
	var delivered, acked atomic.Int64
	var clients []*Client
	var work sync.WaitGroup
	defer work.Wait()
	var over atomic.Bool
	defer func() {
		over.Store(true)
		for _, c := range clients {
			_ = c.Close() // the load is over
		}
	}()
	nothing := func(int) {}
	run := rand.Uint32()
	for i := range l.Subscribers {
		c, err := Dial(l.Addr, fmt.Sprintf("s%d-%d", run, i), l.User, l.Password)
		if err != nil {
			return Result{}, err
		}
		clients = append(clients, c)
		if err := c.Subscribe(l.Topic, l.QoS); err != nil {
			return Result{}, err
		}
		work.Go(func() { _ = c.Count(func(n int) { delivered.Add(int64(n)) }, nothing) })
	}
	pace := &pacer{each: int64(max(1, l.Subscribers)), window: int64((l.Window - l.Batch) * l.Publishers), delivered: &delivered}
	for i := range l.Publishers {
		c, err := Dial(l.Addr, fmt.Sprintf("p%d-%d", run, i), l.User, l.Password)
		if err != nil {
			return Result{}, err
		}
		clients = append(clients, c)
		tokens := make(chan struct{}, l.Window/l.Batch)
		if l.QoS > 0 {
			for range cap(tokens) {
				tokens <- struct{}{}
			}
		}
		work.Go(func() {
			got := 0
			_ = c.Count(nothing, func(n int) {
				acked.Add(int64(n))
				for got += n; got >= l.Batch; got -= l.Batch {
					tokens <- struct{}{}
				}
			})
			close(tokens)
		})
		work.Go(func() { l.publish(c, tokens, pace, &over) })
	}
	time.Sleep(l.Warm)
	d0, a0, p0, start := delivered.Load(), acked.Load(), pace.sent.Load(), time.Now()
	time.Sleep(l.Time)
	took := time.Since(start).Seconds()
	r := Result{Delivered: float64(delivered.Load()-d0) / took, Published: float64(pace.sent.Load()-p0) / took}
	if l.QoS > 0 {
		r.Published = float64(acked.Load()-a0) / took
	}
	r.Messages = float64(pace.sent.Load())
	if pace.lost.Load() {
		return r, errors.New("messages were lost: no delivery for two seconds")
	}
	return r, nil
}

func (l Load) publish(c *Client, tokens chan struct{}, pace *pacer, over *atomic.Bool) {
	var packets [][]byte // identifiers go round
	for i := range max(1, 2*cap(tokens)) {
		packets = append(packets, Publishes(l.Topic, make([]byte, l.Payload), l.QoS, uint16(1+i*l.Batch), l.Batch))
	}
	for i := 0; !over.Load(); i++ {
		if l.QoS > 0 {
			if _, ok := <-tokens; !ok {
				return
			}
		}
		if l.Subscribers > 0 {
			pace.wait(over)
		}
		pace.sent.Add(int64(l.Batch))
		if c.Write(packets[i%len(packets)]) != nil {
			return
		}
	}
}

// A pacer keeps what is sent and not delivered within a window.
type pacer struct {
	each, window int64
	sent         atomic.Int64
	delivered    *atomic.Int64
	lost         atomic.Bool
}

func (p *pacer) wait(over *atomic.Bool) {
	for since := time.Now(); p.sent.Load()-p.delivered.Load()/p.each > p.window && !over.Load(); {
		time.Sleep(50 * time.Microsecond)
		if time.Since(since) > 2*time.Second {
			p.lost.Store(true)
			return
		}
	}
}

// Latency publishes QoS 1 at a steady rate from some clients and returns how
// long acknowledgements took, sorted.
func (l Load) Latency(rate int) ([]time.Duration, error) {
	type pending struct{ at time.Time }
	var mu sync.Mutex
	var all []time.Duration
	var work sync.WaitGroup
	errs := make(chan error, l.Publishers)
	pause := time.Duration(l.Publishers) * time.Second / time.Duration(rate)
	run := rand.Uint32()
	for i := range l.Publishers {
		c, err := Dial(l.Addr, fmt.Sprintf("l%d-%d", run, i), l.User, l.Password)
		if err != nil {
			return nil, err
		}
		sent := make(chan pending, 1<<12)
		count := int(l.Time / pause)
		done := make(chan struct{})
		work.Go(func() {
			n := 0
			_ = c.Count(func(int) {}, func(acks int) {
				now := time.Now()
				mu.Lock()
				for range acks {
					all = append(all, now.Sub((<-sent).at))
				}
				mu.Unlock()
				if n += acks; n == count {
					close(done)
				}
			})
		})
		work.Go(func() {
			defer c.Close()
			time.Sleep(pause * time.Duration(i) / time.Duration(l.Publishers))
			next := time.Now()
			for id := range count {
				time.Sleep(time.Until(next))
				next = next.Add(pause)
				sent <- pending{time.Now()}
				if err := c.Write(Publishes(l.Topic, make([]byte, 100), 1, uint16(1+id%60000), 1)); err != nil {
					errs <- err
					return
				}
			}
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				errs <- errors.New("acknowledgements are missing")
			}
		})
	}
	work.Wait()
	select {
	case err := <-errs:
		return nil, err
	default:
	}
	slices.Sort(all)
	return all, nil
}

// Connects connects and disconnects from some clients at once, and returns
// connects per second, refused ones among them.
func (t Target) Connects(clients int, d time.Duration) (Result, error) {
	var n atomic.Int64
	var work sync.WaitGroup
	errs := make(chan error, clients)
	start := time.Now()
	run := rand.Uint32()
	for i := range clients {
		work.Go(func() {
			for time.Since(start) < d {
				c, err := Dial(t.Addr, fmt.Sprintf("c%d-%d-%d", run, i, n.Add(1)), t.User, t.Password)
				switch {
				case errors.Is(err, ErrRefused):
				case err != nil:
					errs <- err
					return
				default:
					_ = c.Write([]byte{0xE0, 0})
					_ = c.Close() // it said goodbye
				}
			}
		})
	}
	work.Wait()
	took := time.Since(start).Seconds()
	select {
	case err := <-errs:
		return Result{}, err
	default:
	}
	return Result{Published: float64(n.Load()) / took, Messages: float64(n.Load())}, nil
}

// Idle opens n connections that say nothing more.
func (t Target) Idle(n int) (closeAll func(), err error) {
	var clients []*Client
	closeAll = func() {
		for _, c := range clients {
			_ = c.Close() // the measurement is over
		}
	}
	run := rand.Uint32()
	for i := range n {
		c, err := Dial(t.Addr, fmt.Sprintf("i%d-%d", run, i), t.User, t.Password)
		if err != nil {
			return closeAll, err
		}
		clients = append(clients, c)
	}
	return closeAll, nil
}
