package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/adapters/httpd"
	"github.com/postern-io/postern/registry"
)

// BenchmarkHTTP compares live publishes over HTTP with a bare net/http handler
// that reads the body: 16 connections kept alive, 100 bytes a body. The budget
// is a ratio of 0.7.
func BenchmarkHTTP(b *testing.B) {
	w := adaptertest.NewLaptop(b)
	d := w.NewDevice(b, registry.Publish)
	door := httpServer(b, &httpd.Server{Gateway: w.Gateway, Log: w.Log})
	bare := httpServer(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // what fails here fails the client
		w.WriteHeader(http.StatusAccepted)
	}))
	request := func(c registry.Channel) string {
		return fmt.Sprintf("POST /http/%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Client %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n%s",
			adaptertest.Topic(c, "room/lamp"), d.Secret, strings.Repeat("x", 100))
	}
	b.Run("live", func(b *testing.B) {
		compare(b, func(n int) time.Duration { return httpLoad(b, door, request(w.Live), n) },
			func(n int) time.Duration { return httpLoad(b, bare, request(w.Live), n) })
	})
	b.Run("stored", func(b *testing.B) {
		compare(b, func(n int) time.Duration { return httpLoad(b, door, request(w.Channel), n) },
			func(n int) time.Duration { return httpLoad(b, bare, request(w.Channel), n) })
	})
}

// compare runs ours and theirs by turns and reports the median of three ratios
// of rates, how far the three lie apart, and the ratio of the processor time
// that a message costs, which a busy machine disturbs less. All of them say
// more is better.
func compare(b *testing.B, ours, theirs func(n int) time.Duration) {
	b.Helper()
	const rounds = 3
	n := max(b.N, 1000)
	ours(n / 10)
	theirs(n / 10)
	var ratios, rates, bare, cpu []float64
	for range rounds {
		before := processorTime(b)
		o := ours(n)
		between := processorTime(b)
		t := theirs(n)
		after := processorTime(b)
		ratios = append(ratios, float64(t)/float64(o))
		rates = append(rates, float64(n)/o.Seconds())
		bare = append(bare, float64(n)/t.Seconds())
		cpu = append(cpu, float64(after-between)/float64(between-before))
	}
	for _, s := range [][]float64{ratios, rates, bare, cpu} {
		slices.Sort(s)
	}
	b.ReportMetric(0, "ns/op") // of two systems and three rounds: says nothing
	b.ReportMetric(rates[rounds/2], "ours/s")
	b.ReportMetric(bare[rounds/2], "bare/s")
	b.ReportMetric(ratios[rounds/2], "ratio")
	b.ReportMetric(ratios[rounds-1]-ratios[0], "spread")
	b.ReportMetric(cpu[rounds/2], "cpu-ratio")
}

// processorTime is what this process, clients and all, has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func httpServer(b *testing.B, h http.Handler) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	b.Cleanup(func() {
		_ = s.Close() // nothing is under way
		<-done
	})
	return l.Addr().String()
}

// httpLoad sends n requests over 16 connections and returns how long they
// took. It reads no more of an answer than it must: the client's cost is the
// same for both, and hides the difference.
func httpLoad(b *testing.B, addr, request string, n int) time.Duration {
	b.Helper()
	const clients = 16
	var conns [clients]net.Conn
	for i := range conns {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	var next atomic.Int64
	var work sync.WaitGroup
	start := time.Now()
	for _, conn := range conns {
		work.Go(func() {
			reader := bufio.NewReader(conn)
			for next.Add(1) <= int64(n) {
				if _, err := io.WriteString(conn, request); err != nil {
					b.Error(err)
					return
				}
				status, err := reader.ReadString('\n')
				if err != nil || !strings.HasPrefix(status, "HTTP/1.1 202") {
					b.Errorf("%q, %v", status, err)
					return
				}
				for line := status; line != "\r\n"; {
					if line, err = reader.ReadString('\n'); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	work.Wait()
	return time.Since(start)
}
