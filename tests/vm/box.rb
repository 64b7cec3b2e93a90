# The Vagrantfile inside the box, which Vagrant lays under the user's: what an emulated processor and a box without boot
# loader need, so that the project's own Vagrantfile runs as it is.
Vagrant.configure("2") do |config|
  box = File.dirname(File.expand_path(__FILE__))
  config.vm.boot_timeout = 600
  config.ssh.insert_key = false
  config.ssh.private_key_path = "#{box}/key"
  config.vm.provider :libvirt do |libvirt|
    libvirt.driver = "qemu"
    libvirt.cpu_mode = "maximum"
    libvirt.graphics_type = "none"
    libvirt.kernel = "#{box}/vmlinuz"
    libvirt.initrd = "#{box}/initrd.img"
    libvirt.cmd_line = "root=LABEL=root rw console=ttyS0 net.ifnames=0 mitigations=off tsc=reliable clearcpuid=297,580"
  end
end
