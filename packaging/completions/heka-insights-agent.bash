_heka__insights__agent() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="heka__insights__agent"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        heka__insights__agent)
            opts="-h -V --exporter --listen --console-format --interval --once --no-phase --phase --env-file --endpoint --protocol --header --headers-file --compression --timeout --ca-file --cert-file --key-file --temporality --outbox-dir --outbox-max-size --outbox-max-age --collectors --detail --per-cpu --no-per-cpu --naming --counters-since --disk-scope --disk-include --disk-exclude --filesystem-include --filesystem-exclude --network-include --network-exclude --top-processes --process-command-lines --no-process-command-lines --service-include --service-exclude --textfile-dir --max-series --self-metrics --service-name --resource-attribute --root-path --log-level --log-format --send --json --help --version check"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --exporter)
                    COMPREPLY=($(compgen -W "otlp prometheus console none" -- "${cur}"))
                    return 0
                    ;;
                --listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --console-format)
                    COMPREPLY=($(compgen -W "table json" -- "${cur}"))
                    return 0
                    ;;
                --interval)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --env-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --endpoint)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --protocol)
                    COMPREPLY=($(compgen -W "grpc http/protobuf" -- "${cur}"))
                    return 0
                    ;;
                --header)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --headers-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --compression)
                    COMPREPLY=($(compgen -W "none gzip" -- "${cur}"))
                    return 0
                    ;;
                --timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ca-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --cert-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --key-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --temporality)
                    COMPREPLY=($(compgen -W "cumulative delta lowmemory" -- "${cur}"))
                    return 0
                    ;;
                --outbox-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --outbox-max-size)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --outbox-max-age)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --collectors)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --detail)
                    COMPREPLY=($(compgen -W "basic detailed" -- "${cur}"))
                    return 0
                    ;;
                --naming)
                    COMPREPLY=($(compgen -W "semconv hostmetrics node_exporter" -- "${cur}"))
                    return 0
                    ;;
                --counters-since)
                    COMPREPLY=($(compgen -W "start boot" -- "${cur}"))
                    return 0
                    ;;
                --disk-scope)
                    COMPREPLY=($(compgen -W "device total" -- "${cur}"))
                    return 0
                    ;;
                --disk-include)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk-exclude)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --filesystem-include)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --filesystem-exclude)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --network-include)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --network-exclude)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --top-processes)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --service-include)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --service-exclude)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --textfile-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-series)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --self-metrics)
                    COMPREPLY=($(compgen -W "on detailed off" -- "${cur}"))
                    return 0
                    ;;
                --service-name)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --resource-attribute)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --root-path)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log-level)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log-format)
                    COMPREPLY=($(compgen -W "text json" -- "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
    esac
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _heka__insights__agent -o nosort -o bashdefault -o default heka-insights-agent
else
    complete -F _heka__insights__agent -o bashdefault -o default heka-insights-agent
fi
