package bench

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkStart measures how long a start on an existing data directory takes
// until /health/ready says so (budget: 1 s), and the memory of a server that
// has nothing to do (budget: 80 MB).
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	bin := filepath.Join(dir, "postern")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", bin, "../cmd/postern").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ops := l.Addr().String()
	l.Close()
	var total time.Duration
	var resident float64
	for i := range 4 {
		took, rss := start(b, bin, dir, ops)
		if i > 0 { // the first makes the data directory
			total += took
			resident = max(resident, rss)
		}
	}
	b.ReportMetric(total.Seconds()/3, "s-to-ready")
	b.ReportMetric(resident, "MB-resident")
	b.ReportMetric(0, "ns/op")
}

func start(b *testing.B, bin, dir, ops string) (time.Duration, float64) {
	b.Helper()
	cmd := exec.Command(bin, "serve")
	cmd.Dir = dir
	cmd.Env = []string{"POSTERN_MQTT_ADDR=127.0.0.1:0", "POSTERN_MQTTS_ADDR=127.0.0.1:0", "POSTERN_HTTP_ADDR=127.0.0.1:0",
		"POSTERN_HTTPS_ADDR=127.0.0.1:0", "POSTERN_NATS_ADDR=127.0.0.1:0", "POSTERN_OPS_ADDR=" + ops}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may be gone
		_ = cmd.Wait()
	}()
	for {
		if resp, err := http.Get("http://" + ops + "/health/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(begin) > 30*time.Second {
			b.Fatal("not ready within 30 s")
		}
	}
	took := time.Since(begin)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kb); err == nil {
			return took, kb / 1024
		}
	}
	b.Fatal("the process tells no memory")
	return 0, 0
}
