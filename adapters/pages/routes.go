package pages

// A route is one page, or one thing that is done from it.
type route struct {
	pattern string
	do      func(*visit) error
	stream  bool // goes on until the browser leaves
}

// routes is all of the door.
var routes = []route{
	{"GET /{$}", home, false},
	{"GET /domains", listDomains, false},
	{"POST /domains", createDomain, false},
	{"GET /domains/{domain}", enterDomain, false},
	{"GET /domains/{domain}/channels", listChannels, false},
	{"POST /domains/{domain}/channels", createChannel, false},

	{"GET /domains/{domain}/devices", listDevices, false},
	{"POST /domains/{domain}/devices", createDevice, false},
	{"POST /domains/{domain}/devices/bulk", bulkDevices, false},
	{"GET /domains/{domain}/devices/export", exportDevices, true},
	{"GET /domains/{domain}/devices/import", askImport, false},
	{"POST /domains/{domain}/devices/import", importDevices, true},
	{"GET /domains/{domain}/devices/{device}", onDevice(showDevice), false},
	{"POST /domains/{domain}/devices/{device}/edit", onDevice(editDevice), false},
	{"POST /domains/{domain}/devices/{device}/state", onDevice(stateDevice), false},
	{"POST /domains/{domain}/devices/{device}/secret", onDevice(rotateSecret), false},
	{"POST /domains/{domain}/devices/{device}/connect", onDevice(connectDevice), false},
	{"POST /domains/{domain}/devices/{device}/disconnect", onDevice(disconnectDevice), false},
	{"POST /domains/{domain}/devices/{device}/end", onDevice(endSession), false},
	{"POST /domains/{domain}/devices/{device}/delete", onDevice(deleteDevice), false},
	{"POST /domains/{domain}/devices/{device}/certs", onDevice(issueCertificate), false},
	{"GET /domains/{domain}/devices/{device}/certs/{certificate}", onDevice(downloadCertificate), false},
	{"POST /domains/{domain}/devices/{device}/certs/{certificate}/revoke", onDevice(revokeCertificate), false},
	{"POST /domains/{domain}/devices/{device}/certs/{certificate}/release", onDevice(releaseCertificate), false},
	{"GET /domains/{domain}/explain", askExplain, false},
	{"POST /domains/{domain}/explain", explain, false},
	{"POST /download", download, false},
}

// Patterns returns the paths of this door, as http.ServeMux takes them.
func Patterns() []string {
	all := []string{"GET /assets/{name}"}
	for _, rt := range routes {
		all = append(all, rt.pattern)
	}
	return all
}
