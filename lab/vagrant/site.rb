# What the Vagrantfile needs to know of a site file, and of podman.

require "fileutils"
require "ipaddr"
require "open3"
require "yaml"

module Lab
  ROOT = File.expand_path("../..", __dir__)
  WELL_KNOWN_KEY = Vagrant.source_root.join("keys", "vagrant").to_s
  RELEASES = { "12" => "bookworm", "13" => "trixie" }.freeze

  # Runs a command; its output. A failure ends vagrant with the command's own words.
  def self.run(*command)
    output, errors, status = Open3.capture3(*command)
    raise Vagrant::Errors::VagrantError.new, "#{command.join(" ")}: #{errors.strip}" unless status.success?

    output
  end

  # Holds one lock file for the block, since machines come up in parallel.
  def self.locked(path)
    FileUtils.mkdir_p(File.dirname(path))
    File.open("#{path}.lock", File::RDWR | File::CREAT, 0o600) do |file|
      file.flock(File::LOCK_EX)
      yield
    end
  end

  # The parts of a site file that make machines: names, addresses, network, key, pinned host keys.
  class Site
    attr_reader :name, :hosts, :key, :known_hosts

    def self.load(path)
      new(YAML.safe_load(File.read(path)), File.dirname(File.expand_path(path)))
    end

    def initialize(site, folder)
      @name = site.fetch("name")
      @hosts = site.fetch("hosts").transform_values { |host| host.fetch("address") }
      @machines = IPAddr.new(Array(site.fetch("network").fetch("machines")).first)
      @key = File.expand_path(site.fetch("connection").fetch("key"), folder)
      @known_hosts = File.expand_path(site.fetch("connection").fetch("known_hosts"), folder)
    end

    def network_name
      "provision-#{@name}"
    end

    def subnet
      "#{@machines}/#{@machines.prefix}"
    end

    # The network's first address: the host's own.
    def gateway
      @machines.succ.to_s
    end

    def netmask
      IPAddr.new("255.255.255.255").mask(@machines.prefix).to_s
    end

    # A loopback address that no other machine of this network has.
    def loopback(name)
      @hosts.fetch(name).sub(/\A\d+/, "127")
    end

    # Debian's release for a machine, "12" or "13".
    def release(name)
      said = ENV.fetch("PROVISION_LAB_DEBIAN", "12").split(",")
      named, general = said.partition { |word| word.include?("=") }
      release = named.map { |word| word.split("=", 2) }.to_h.fetch(name.to_s, general.first || "12")
      RELEASES.key?(release) or raise Vagrant::Errors::VagrantError.new, "PROVISION_LAB_DEBIAN: 12 or 13, not #{release}"
      release
    end

    def codename(name)
      RELEASES.fetch(release(name))
    end

    # The lab's own public key; the pair is made when it isn't there.
    def public_key
      Lab.locked(@key) do
        unless File.exist?(@key)
          Lab.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "#{network_name} vagrant", "-f", @key)
        end
      end
      File.read("#{@key}.pub").strip
    end

    # Pins a machine's host keys, read from the machine itself and not from the network where the
    # provider allows that (a container).
    def pin(machine)
      files = "cat /etc/ssh/ssh_host_*_key.pub"
      text = if machine.provider_name == :docker
               Lab.run("docker", "exec", machine.id, "sh", "-c", files)
             else
               read = +""
               machine.communicate.sudo(files) { |kind, data| read << data if kind == :stdout }
               read
             end
      names = "#{@hosts.fetch(machine.name.to_s)},#{machine.name}"
      keys = text.lines.map { |line| "#{names} #{line.split.first(2).join(" ")}\n" }
      rewrite(machine.name) { |others| others + keys }
    end

    # Forgets the host keys of a machine that is gone.
    def unpin(name)
      rewrite(name) { |others| others } if File.exist?(@known_hosts)
    end

    private

    # Writes the pinned keys anew: the block gets the lines of all other machines.
    def rewrite(name)
      address = @hosts.fetch(name.to_s)
      Lab.locked(@known_hosts) do
        lines = File.exist?(@known_hosts) ? File.readlines(@known_hosts) : []
        others = lines.reject { |line| line.start_with?("#{address},", "#{address} ") }
        File.write("#{@known_hosts}.new", yield(others).join)
        File.rename("#{@known_hosts}.new", @known_hosts)
      end
    end
  end

  # podman as the docker provider's engine: its API socket, the lab's network, the machines' image.
  class Podman
    # Folders which need a file system that is not an overlay; they live and die with the machine.
    VOLUMES = %w[/var/lib/containerd /var/lib/kubelet /var/lib/etcd].freeze

    # A folder that all machines of a lab have in common, as a file server's clients do.
    SHARED = "/mnt/shared"

    # podman lowers its own limit of processes to this, and a container cannot have more than it.
    PODMAN_PROCESSES = 32_768

    def initialize(site)
      @site = site
      return unless ENV["VAGRANT_DEFAULT_PROVIDER"] == "docker"

      socket = Lab.run(File.join(ROOT, "lab/podman-socket")).strip
      ENV["CONTAINER_HOST"] = "unix://#{socket}"
      ENV["PATH"] = "#{File.join(ROOT, "lab/bin")}:#{ENV["PATH"]}"
    end

    # Makes the network and the machine's image where they are missing, and takes away what an
    # interrupted start of this machine has left.
    def prepare(machine)
      clear(machine) unless machine.id
      Lab.locked(@site.key) do
        Lab.run(File.join(ROOT, "lab/network"), @site.network_name, @site.subnet, @site.gateway)
      end
      system(File.join(ROOT, "lab/image/build"), @site.release(machine.name), out: File::NULL) or
        raise Vagrant::Errors::VagrantError.new, "lab/image/build failed; its messages are above"
    end

    def image(name)
      Lab.run(File.join(ROOT, "lab/image/build"), "--print", @site.release(name)).strip
    end

    # Arguments of `docker run` that make a container a machine.
    def create_args(name, address)
      files = Process.getrlimit(:NOFILE).last
      processes = [Process.getrlimit(:NPROC).last, PODMAN_PROCESSES].min
      ["--hostname", name.to_s, "--network", @site.network_name, "--ip", address,
       "--label", "provision.lab=#{@site.name}", "--label", "provision.checkout=#{ROOT}",
       # A machine that reboots ends its container; it comes back by itself.
       "--restart", "on-failure",
       "--privileged", "--cgroupns=private", "--tmpfs", "/run", "--tmpfs", "/tmp",
       "--ulimit", "nofile=#{files}:#{files}", "--ulimit", "nproc=#{processes}:#{processes}",
       *VOLUMES.flat_map { |volume| ["--volume", volume] },
       "--volume", "#{@site.network_name}-shared:#{SHARED}"]
    end

    def container(name)
      "#{@site.name}-#{name}"
    end

    private

    def clear(machine)
      name = container(machine.name)
      format = '{{index .Config.Labels "provision.checkout"}}'
      owner, status = Open3.capture2("podman", "inspect", "--format", format, name, err: File::NULL)
      return unless status.success?

      unless owner.strip == ROOT
        raise Vagrant::Errors::VagrantError.new,
              "the container #{name} belongs to the checkout #{owner.strip}; to replace that lab, run: lab/remove #{@site.name}"
      end
      Lab.run("podman", "rm", "--force", "--volumes", "--time", "0", name)
    end
  end
end
