package fs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// mountByHelper lets fusermount3 mount, and takes the descriptor of the device from it. What it
// says goes into the error: its exit code alone explains nothing, and a process in the background
// has no standard error.
func mountByHelper(f *fileSystem, mountpoint string, options *fuse.MountOptions) (*fuse.Server, error) {
	helper, err := fusermount()
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := pair[0], os.NewFile(uintptr(pair[1]), "fusermount3")
	defer unix.Close(ours)
	cmd := exec.Command(helper, "-o", helperOptions(options), "--", mountpoint)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	out, err := cmd.CombinedOutput()
	theirs.Close()
	if err != nil {
		return nil, helperFailure(string(out), err)
	}
	fd, err := receiveDescriptor(ours)
	if err != nil {
		return nil, fmt.Errorf("take the device from fusermount3: %w", err)
	}
	server, err := fuse.NewServer(f, "/dev/fd/"+strconv.Itoa(fd), options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin to serve: %w", err), unix.Close(fd))
	}
	return server, nil
}

// helperOptions are the options as fusermount3 takes them, separated by commas; those of an option
// are escaped.
func helperOptions(options *fuse.MountOptions) string {
	all := append([]string(nil), options.Options...)
	if options.AllowOther {
		all = append(all, "allow_other")
	}
	all = append(all, "fsname="+options.FsName, "subtype="+options.Name, "max_read="+strconv.Itoa(options.MaxWrite))
	escape := strings.NewReplacer(",", `\,`, `\`, `\\`)
	for i, o := range all {
		all[i] = escape.Replace(o)
	}
	return strings.Join(all, ",")
}

// helperFailure is what fusermount3 said, in one line.
func helperFailure(said string, err error) error {
	var lines []string
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(strings.TrimPrefix(line, "fusermount3: ")); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return fmt.Errorf("fusermount3: %w", err)
	}
	return errors.New("fusermount3: " + strings.Join(lines, "; "))
}

// receiveDescriptor takes a descriptor that was sent over a socket. No process that we start
// inherits it.
func receiveDescriptor(socket int) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) == 0 {
		return 0, errors.Join(errors.New("none came"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return 0, errors.Join(errors.New("none came"), err)
	}
	return fds[0], nil
}

// mayMountOn returns an error that explains what fusermount3 requires of a directory: a plain user
// can write to it, and, if others can as well, owns it.
func mayMountOn(path string) error {
	uid := os.Geteuid()
	if uid == 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	own := st.Uid == uint32(uid)
	err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS)
	switch {
	case err != nil && own:
		return fmt.Errorf("%w: plain users may mount on directories alone that they may write to: %w (choose another directory)",
			os.ErrPermission, err)
	case err != nil, st.Mode&unix.S_ISVTX != 0 && !own:
		return fmt.Errorf("%w: plain users may mount on directories of their own alone, and this one belongs to user %d "+
			"(choose a directory that you own and may write to)", os.ErrPermission, st.Uid)
	}
	return nil
}
