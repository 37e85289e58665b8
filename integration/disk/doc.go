// Package disk tests what lies on disk: resuming after a stop, a kill or a full disk, disks that
// fail, hang or forget, and files that other programs change.
package disk
