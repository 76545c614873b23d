# What `docker inspect` says of a project's containers, networks and volumes, without what differs
# from one run or one engine to the next. Arguments: $containers, $networks and $volumes, the raw lists (as files),
# and $bare, a container made with nothing but an image: what HostConfig has in common with that
# one's is the engine's default, and left out. `words.jq` is run over the result.

# An identifier of one of the project's containers becomes the name of that container.
def names($ids):
  if type == "object" then map_values(names($ids))
  elif type == "array" then map(names($ids))
  elif type == "string" then
    reduce ($ids | to_entries[]) as $id (.; split($id.key) | join("<id of \($id.value)>"))
  else . end;

def is_anonymous: test("^[0-9a-f]{64}$");

def is_empty: . == null or . == [] or . == {} or . == "" or . == false or . == 0;

# The mode of the network is kept: the default is `default` on an old engine and `bridge` on a new one.
def without_defaults:
  with_entries(
    $bare[0][0].HostConfig[.key] as $default
    | select(.key == "NetworkMode" or .value != $default and ((.value | is_empty) and ($default | is_empty) | not)));

def container:
  .Id as $id
  | ($id[0:12]) as $short
  | {Name: (.Name | ltrimstr("/")), Path, Args, Config, HostConfig, Mounts,
     Networks: .NetworkSettings.Networks}
  | .Config.Hostname |= (if . == $short then "<short id>" else . end)
  | .Config.Env |= ((. // []) | sort)
  | .Config.Labels |= ((. // {})
      | if has("com.docker.compose.config-hash") then .["com.docker.compose.config-hash"] = "<hash>" else . end
      # Compose writes them in no order.
      | if has("com.docker.compose.depends_on") then .["com.docker.compose.depends_on"] |= (split(",") | sort | join(",")) else . end
      | if has("com.docker.compose.image") then .["com.docker.compose.image"] = "<image id>" else . end)
  | .HostConfig.Binds |= ((. // []) | map(if test("^[0-9a-f]{64}:") then sub("^[0-9a-f]{64}"; "<anonymous>") else . end)
      # By what no checkout changes: the source is below the directory of the case.
      | sort_by(split(":")[1:]))
  # What only newer engines know of a bind, old ones drop without a word.
  | .HostConfig.Mounts |= ((. // [])
      | map(if .BindOptions then .BindOptions |= del(.CreateMountpoint, .ReadOnlyNonRecursive) else . end
            | with_entries(select(.value != {})))
      | sort_by(.Target))
  | .Mounts |= ((. // [])
      | map(if .Type == "volume" then del(.Source) else . end
            | if (.Name // "" | is_anonymous) then .Name = "<anonymous>" else . end)
      | sort_by(.Destination))
  # No name of a policy means `no`.
  | .HostConfig.RestartPolicy.Name |= (if . == "" then "no" else . end)
  # Lists in which the order has no meaning, and the old and the new way to write one thing.
  | .HostConfig.ExtraHosts |= ((. // []) | sort)
  | .HostConfig.Ulimits |= ((. // []) | sort_by(.Name))
  | .HostConfig.SecurityOpt |= ((. // []) | map(if contains("=") then . else sub(":"; "=") end))
  | .HostConfig |= without_defaults
  | .Networks |= ((. // {}) | map_values({
      IPAMConfig: (if .IPAMConfig == {} then null else .IPAMConfig end), Links, DriverOpts,
      Aliases: ((.Aliases // []) | map(select(. != $short)) | unique)}));

def network:
  {Name, Driver, Internal, Attachable, Ingress, EnableIPv6, Options, Labels, IPAM}
  | .Options //= {}
  | .IPAM.Options //= {}
  # The engine chooses the pool where the file does not: only those of this corpus are kept.
  | .IPAM.Config |= ((. // []) | map(select(.Subnet | startswith("10.213."))))
  | .Labels |= ((. // {}) | if has("com.docker.compose.config-hash") then .["com.docker.compose.config-hash"] = "<hash>" else . end);

def volume:
  {Name, Driver, Options, Labels}
  | .Options //= {}
  | .Labels |= ((. // {}) | if has("com.docker.compose.config-hash") then .["com.docker.compose.config-hash"] = "<hash>" else . end);

($containers[0] | map({key: .Id, value: (.Name | ltrimstr("/"))}) | from_entries) as $ids
| {
    containers: ($containers[0] | map(container) | map({key: .Name, value: .}) | from_entries),
    networks: ($networks[0] | map(network) | map({key: .Name, value: .}) | from_entries),
    volumes: ($volumes[0] | map(select(.Name | is_anonymous | not)) | map(volume) | map({key: .Name, value: .}) | from_entries)
  }
| names($ids)
