"""Virtual machines under libvirt: the accelerator that really works, the connection, the domain, the running
machine."""
